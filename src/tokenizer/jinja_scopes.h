// Which variables are undefined at the beginning of a scope although the caller gave them.
//
// jinja2 decides before a template runs where each variable of a scope comes from. One that the
// scope sets, outside any {% if %}, before reading it, is the scope's own from its beginning, and
// undefined until then: so it is for the loops and macros within, which may run earlier. If a scope
// outside knows the variable too, its value there holds until then; from the template's caller, it
// does not.

#pragma once

#include "tokenizer/jinja_syntax.h"

namespace halftone::jinja {

// Fills Body::unset of every body.
void ResolveScopes(Template& parsed);

}  // namespace halftone::jinja

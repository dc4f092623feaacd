# Writes the stub FROM to TO with what strict type checkers want and nanobind leaves out.
file(READ ${FROM} text)
string(REGEX REPLACE "os\\.PathLike([^[])" "os.PathLike[str]\\1" text "${text}")
file(WRITE ${TO} "${text}")

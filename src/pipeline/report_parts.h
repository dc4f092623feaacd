// The parts of a comparison's page (report.html): each function returns the HTML of one part, made
// on the server side so that the page can be read, searched and printed without JavaScript; the
// script adds sorting, tooltips and the scatter chart. What the parts share:
//   class "m0" .. "m5"   the row's method, as a colour and a mark; "mr" the reference
//   data-row="3"         which row of the report an element shows
//   data-tip="..."       plain text for the tooltip

#pragma once

#include <string>
#include <vector>

#include "halftone/compare.h"

namespace halftone {

// The methods of the rows that are no reference, in order of appearance.
std::vector<std::string> ReportMethods(const CompareReport& report);
// "m0" .. "m5" (further methods share them from the start) or "mr".
std::string MethodClass(const CompareReport& report, const CompareRow& row);
// The row's mark in its method's colour: a small picture, hidden from screen readers.
std::string MethodMark(const CompareReport& report, const CompareRow& row);

// The reference's row, or null.
const CompareRow* ReferenceRow(const CompareReport& report);
// Bytes relative to the reference's, NaN without one.
double SizeRatio(const CompareReport& report, const CompareRow& row);

// The rows that answer a newcomer's questions; null where no row has the numbers.
struct Highlights {
  // The smallest Pareto row that has the reference's likeliest token at kGoodAgreement of the
  // positions, or else the one that has it most often.
  const CompareRow* suggested = nullptr;
  bool good = false;                    // the former
  const CompareRow* closest = nullptr;  // least mean KL divergence
  const CompareRow* smallest = nullptr;
  const CompareRow* fastest = nullptr;  // in generating
};
inline constexpr double kGoodAgreement = 0.9;
Highlights FindHighlights(const CompareReport& report);

// report_head.cc
std::string HeadlineHtml(const CompareReport& report);  // <h1> and the sentences below
std::string CardsHtml(const CompareReport& report);
std::string FactsHtml(const CompareReport& report);   // what was measured on what
std::string LegendHtml(const CompareReport& report);  // methods and their marks

// report_table.cc
std::string TableHtml(const CompareReport& report);

// report_charts.cc
std::string SpeedHtml(const CompareReport& report);   // bars: prompt, generation, memory
std::string ErrorsHtml(const CompareReport& report);  // heat maps; empty without layer errors

// report_samples.cc
std::string SamplesHtml(const CompareReport& report);  // empty without samples

// report_data.cc: CompareJson's text; indent -1 puts it on one line.
std::string DumpReport(const CompareReport& report, int indent);

}  // namespace halftone

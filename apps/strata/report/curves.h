// Curves made fit for drawing: thinned to what a screen shows, smoothed to what an eye should see.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "apps/strata/report/run_record.h"
#include "optim/svg_ink.h"

namespace strata::app::report {

using optim::svg::Points;

/// The finite points of a column over the steps; where values are missing in between, one point that is not a number
/// stands for the gap.
Points points_of(const Column& steps, const Column& values);

/// At most the lowest and the highest point of each of `buckets` equal stretches of x, so that no spike is lost, with
/// the ends of the curve and its gaps; as it is where it has no more than twice as many points.
Points decimated(const Points& points, std::size_t buckets);

/// The mean of x and y in each stretch, for what is stacked.
Points averaged(const Points& points, std::size_t buckets);

/// Exponential moving average over about `span` values, corrected for its start: after n values the weights of all of
/// them add up to 1 (Kingma and Ba 2015, section 3). What is missing stays so.
Column smoothed(const Column& values, double span);

/// SVG path data "M0 1.5L10 3" of points in drawing units; a new "M" after each gap.
std::string path_data(const Points& points);

}  // namespace strata::app::report

// What drawings of groups share: their colours, lines without idle points, names made safe.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace strata::optim::svg {

/// Text made safe for the content and the double-quoted attributes of SVG and HTML.
std::string escaped(std::string_view text);

enum class Paper { light, dark };

/// "#rrggbb" for one of `groups` groups, counted from the input. Luminance rises steadily from the input to the head,
/// away from the paper at the input's end on light paper and at the head's on dark, and the hue from blue over
/// magenta to orange: so the order can be told without seeing colours, and any group from the paper (a contrast of at
/// least 3, WCAG 2.2's for graphics, on white and on #0d1117). Made in Oklab (Ottosson 2020), where equal steps look
/// equal.
std::string group_colour(std::size_t group, std::size_t groups, Paper paper);

/// A style rule for each group: `.g0{stroke:#rrggbb}` for the selector ".g" and the property "stroke".
std::string group_colour_rules(std::size_t groups, Paper paper, std::string_view selector, std::string_view property);

using Points = std::vector<std::array<double, 2>>;  ///< x rising

/// Without the points that lie, to a tenth of a unit, on the lines between those that stay.
Points thinned(const Points& points);

}  // namespace strata::optim::svg

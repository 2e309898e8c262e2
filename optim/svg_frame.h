// What stands around the lines of a drawing: paper, title, style for light and dark, grid and axes.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace strata::optim::svg {

// The paper's width and the edges of the frame that the lines are drawn in. Units: pixels.
inline constexpr double width = 960;
inline constexpr double left = 76;
inline constexpr double right = width - 20;
inline constexpr double top = 68;
inline constexpr double bottom = 420;

/// A whole drawing begins with this and ends with "</svg>\n". Lines of class "g0", "g1", … have the colours of groups.
std::string opening(double height, const std::string& title, std::size_t groups);

struct Tick {
    double place;  // pixels, from the left or from the top
    std::string text;
};

/// A line across the frame for each tick, its text left of it.
std::string across(const std::vector<Tick>& ticks);

/// The axis at the foot of the frame, its ticks, and under them what it measures.
std::string foot(const std::vector<Tick>& ticks, const std::string& what);

}  // namespace strata::optim::svg

#include "apps/strata/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "apps/strata/report/json_lines.h"
#include "apps/strata/report/resources.h"
#include "apps/strata/report/run_charts.h"
#include "apps/strata/report/table.h"
#include "apps/strata/report/tables.h"
#include "apps/strata/run_directory.h"
#include "optim/name_components.h"
#include "optim/svg_ink.h"
#include "optim/text_table.h"

namespace strata::app::report {
namespace fs = std::filesystem;
namespace {

using optim::svg::escaped;

constexpr std::size_t most_chips = 16;

/// Folders of one name are told apart by their paths.
Runs read_runs(const std::vector<fs::path>& folders) {
    Runs runs;
    for (const fs::path& folder : folders) runs.push_back(read_run(folder));
    std::map<std::string, int> count;
    for (const RunRecord& run : runs) ++count[run.name];
    for (RunRecord& run : runs) {
        if (count[run.name] > 1) run.name = run.path.lexically_normal().string();
    }
    return runs;
}

std::string style(const Runs& runs) {
    std::set<std::size_t> counts;
    for (const RunRecord& run : runs) counts.insert(run.groups.size());
    std::string light;
    std::string dark;
    for (const std::size_t count : counts) {
        const std::string selector = fmt::format(".n{}g", count);
        light += optim::svg::group_colour_rules(count, optim::svg::Paper::light, selector, "--c");
        dark += optim::svg::group_colour_rules(count, optim::svg::Paper::dark, selector, "--c");
    }
    // Paper is light.
    return fmt::format("<style>\n{}{}\n@media screen and (prefers-color-scheme:dark){{{}}}\n</style>\n", page_css,
                       light, dark);
}

/// The last part of a path; of names that many folders have, with the one before it.
std::string short_path(const std::string& path) {
    fs::path whole = fs::path(path).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();
    const std::string name = whole.filename().string();
    const bool common = name == "model" || name.starts_with("checkpoint-") || name.starts_with("train.");
    return common && whole.parent_path().has_filename() ? (whole.parent_path().filename() / name).string() : name;
}

/// "2 ranks of 1 thread", "strata 0.1.0": what is known of how and where.
std::string facts_line(const RunRecord& run) {
    std::vector<std::string> facts;
    const auto text = [&](const char* key) {
        const auto found = run.provenance.is_object() ? run.provenance.find(key) : run.provenance.end();
        if (!run.provenance.is_object() || found == run.provenance.end()) return std::string();
        return escaped(found->is_string() ? found->get<std::string>() : found->dump());
    };
    if (!run.setting("model_name_or_path").empty())
        facts.push_back("model <b>" + escaped(short_path(run.setting("model_name_or_path"))) + "</b>");
    const std::string data =
        run.setting("task_name").empty() ? short_path(run.setting("train_file")) : run.setting("task_name");
    if (!data.empty()) facts.push_back("data <b>" + escaped(data) + "</b>");
    if (!run.groups.empty()) facts.push_back(fmt::format("{} groups", run.groups.size()));
    const double ranks = number_or(run.provenance, "ranks", number_or(run.plan, "world_size", 0));
    if (ranks > 0) facts.push_back(fmt::format("{:.0f} rank{}", ranks, ranks == 1 ? "" : "s"));
    if (!text("threads_per_rank").empty()) facts.push_back("threads per rank " + text("threads_per_rank"));
    if (!text("host").empty()) facts.push_back("on " + text("host"));
    if (!text("strata").empty()) facts.push_back("strata " + text("strata"));
    if (!text("commit").empty()) facts.push_back("commit " + text("commit"));
    if (!text("libtorch").empty()) facts.push_back("LibTorch " + text("libtorch"));
    if (!text("time").empty()) facts.push_back("started " + text("time"));
    for (std::string& fact : facts) fact = "<span>" + fact + "</span>";
    return optim::join(facts, " <i>·</i> ");
}

std::vector<std::string> notes_of(const RunRecord& run) {
    std::vector<std::string> notes = run.notes;
    if (!run.finished()) {
        const double planned = run.planned_steps();
        const auto last = static_cast<std::int64_t>(run.last_step());
        notes.insert(notes.begin(),
                     last == 0
                         ? std::string("Nothing is logged yet.")
                         : fmt::format("Not finished: {}{} updates so far, as logged.", optim::grouped_digits(last),
                                       planned > 0 ? " of " + optim::grouped_digits(std::llround(planned)) : ""));
    } else if (run.steps.empty()) {
        notes.push_back("No update is logged: logging_steps is longer than the run, or metrics.jsonl is gone.");
    }
    return notes;
}

std::string notes_list(const Runs& runs) {
    std::string items;
    for (const RunRecord& run : runs) {
        for (const std::string& note : notes_of(run)) {
            items += fmt::format("<li>{}{}</li>\n", runs.size() > 1 ? "<b>" + escaped(run.name) + "</b>: " : "",
                                 escaped(note));
        }
    }
    return items.empty() ? "" : "<ul class=\"notes\">\n" + items + "</ul>\n";
}

std::string head(const Runs& runs) {
    if (runs.size() == 1) {
        return fmt::format("<header>\n<h1>{}</h1>\n<p class=\"facts\">{}</p>\n{}{}</header>\n", escaped(runs[0].name),
                           facts_line(runs[0]), notes_list(runs), result_tiles(runs[0]));
    }
    std::string facts;
    for (std::size_t r = 0; r < runs.size(); ++r)
        facts += fmt::format("<li class=\"rule {}\"><b>{}</b> {}</li>\n", run_ink(r), escaped(runs[r].name),
                             facts_line(runs[r]));
    return fmt::format("<header>\n<h1>{} runs</h1>\n<ul class=\"facts\">\n{}</ul>\n{}{}</header>\n", runs.size(), facts,
                       notes_list(runs), comparison_table(runs));
}

/// The groups of a run from the input to the head, once for all charts: each by name, or, of many, a strip of all with
/// a few names; the plan's table has every one.
std::string group_legend(const RunRecord& run) {
    const std::size_t count = run.groups.size();
    std::string out;
    if (count <= most_chips) {
        for (std::size_t g = 0; g < count; ++g)
            out += fmt::format("<li class=\"rule {}\">{}</li>", group_ink(g, count), escaped(run.groups[g]));
        return "<ul class=\"legend groups\">" + out + "</ul>\n";
    }
    std::string names;
    for (std::size_t g = 0; g < count; ++g)
        out += fmt::format("<i class=\"{}\" title=\"{}\"></i>", group_ink(g, count), escaped(run.groups[g]));
    for (const std::size_t g : {std::size_t{0}, count / 2, count - 1})
        names += fmt::format("<span>{}</span>", escaped(run.groups[g]));
    return fmt::format(
        "<div class=\"strip\" aria-label=\"{} groups, from the input to the head\" role=\"img\"><div>{}</div>"
        "<p>{}</p></div>\n",
        count, out, names);
}

std::string group_legends(const Runs& runs) {
    const bool same =
        std::all_of(runs.begin(), runs.end(), [&](const RunRecord& run) { return run.groups == runs.front().groups; });
    if (same) return group_legend(runs.front());
    std::string out;
    for (const RunRecord& run : runs) {
        if (!run.groups.empty()) out += "<h3>" + escaped(run.name) + "</h3>\n" + group_legend(run);
    }
    return out;
}

std::string section(const char* id, const char* title, const std::string& content, bool charts = false) {
    if (content.empty()) return {};
    return fmt::format("<section id=\"{}\" aria-labelledby=\"{}-h\">\n<h2 id=\"{}-h\">{}</h2>\n{}{}{}</section>\n", id,
                       id, id, title, charts ? "<div class=\"charts\">\n" : "", content, charts ? "</div>\n" : "");
}

std::string plan_section(const Runs& runs) {
    if (runs.size() == 1) return plan_tables(runs.front());
    std::string out;
    for (const RunRecord& run : runs) {
        const std::string tables = plan_tables(run);
        if (!tables.empty()) out += folded(run.name, tables);
    }
    return out;
}

}  // namespace

std::string report_page(const std::vector<fs::path>& folders) {
    const Runs runs = read_runs(folders);
    std::vector<std::string> names;
    for (const RunRecord& run : runs) names.push_back(run.name);
    const std::string groups = group_charts(runs);
    std::string out =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n";
    out += fmt::format("<title>{} – Strata</title>\n", escaped(optim::join(names, ", ")));
    out += style(runs) + "</head>\n<body>\n<main>\n" + head(runs);
    out += section("learning", "Learning", learning_charts(runs), true);
    if (!groups.empty())
        out += section("groups", "Groups, from the input to the head",
                       group_legends(runs) + "<div class=\"charts\">\n" + groups + "</div>\n");
    out += section("time", "Time", time_charts(runs), true);
    out += section("plan", "Plan", plan_section(runs));
    out += section("configuration", "Configuration", config_tables(runs));
    return out + fmt::format("<footer>strata report {}</footer>\n</main>\n<script>\n{}</script>\n</body>\n</html>\n",
                             escaped(optim::join(names, " ")), page_js);
}

}  // namespace strata::app::report

// Metrics of predictions against references, equal to scikit-learn's and scipy's.
//
// Formulas: accuracy = matches/n. f1 = 2tp/(2tp+fp+fn), positive class 1; 0 where nothing is positive (scikit-learn's
// zero_division=0). matthews_correlation: Gorodkin's R_K over any number of classes; 0 where predictions or references
// are constant. pearson: product moment. spearmanr: pearson of average ranks. Both are NaN for constant input or fewer
// than two values, where they are undefined (scipy warns and gives NaN). An empty input gives NaN throughout.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "data/label_set.h"

namespace strata::data {

using Values = std::span<const double>;  // class indexes, or values of a regression

double accuracy(Values predictions, Values references);
double f1(Values predictions, Values references);
double matthews_correlation(Values predictions, Values references);
double mean_squared_error(Values predictions, Values references);
double pearson(Values predictions, Values references);
double spearmanr(Values predictions, Values references);

/// Metrics under transformers' names; the caller adds the prefix ("eval_").
///   GLUE: cola matthews_correlation; mrpc, qqp accuracy, f1; stsb pearson, spearmanr; the others accuracy; where there
///   is more than one, also combined_score, their mean, as run_glue.py adds it. Custom (task_name empty): regression
///   mse, pearson, spearmanr; classes accuracy, and for two classes f1 and matthews_correlation.
std::map<std::string, double> compute_metrics(std::string_view task_name, const LabelSet& labels, Values predictions,
                                              Values references);

}  // namespace strata::data

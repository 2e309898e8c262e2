// A model's outputs on a whole corpus, computed by all ranks together, and what they are worth.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/strata/corpus.h"
#include "apps/strata/training_log.h"
#include "data/label_set.h"
#include "dist/communicator.h"
#include "models/model.h"

namespace strata::app {

/// Every rank holds all of it, and the numbers do not depend on how many ranks there are but for float rounding.
struct Predictions {
    std::int64_t outputs = 0;    ///< columns of `logits`
    std::vector<float> logits;   ///< [samples, outputs], row-major, in the file's order
    std::vector<double> values;  ///< class index of the largest logit (the first of equals), or the regression's value
    std::int64_t tokens = 0;     ///< real tokens in the corpus

    std::span<const float> row(std::int64_t sample) const;
};

std::int64_t batch_count(std::int64_t samples, std::int64_t batch_size);

Predictions predict(models::Model& model, const Corpus& corpus, std::int64_t outputs, bool regression,
                    std::int64_t batch_size, dist::Communicator& communicator, Progress& progress);

/// Mean over the samples of cross entropy or squared error, from the logits, in double.
double mean_loss(const Predictions& predictions, const std::vector<double>& labels, bool regression);

/// `loss` and the task's metrics. The corpus must have labels.
std::map<std::string, double> measure(const Predictions& predictions, const Corpus& corpus,
                                      const std::string& task_name, const data::LabelSet& labels);

}  // namespace strata::app

/* comparison_json.h: the documents of sweep and verify: rows, files, differences, a gate. */
#ifndef MQ_COMPARISON_JSON_H
#define MQ_COMPARISON_JSON_H

#include "attribution.h"
#include "gate.h"

#include <cjson/cJSON.h>

/*
 * Of either command: the original, the text, the protocol and the rows (see result_json.h). With
 * files among the rows
 *
 *     models           [path of each file]
 *     model_files      [for each: [{"name", "bytes", "header_crc32"}]]
 *     model_notes      [for each: [what is to be known of it]]
 *     tokens_compared  [for each: whether its tokenizer was found to be the original's]
 *     differences      of every candidate but the first: [{"model", "minus": names of rows,
 *                      "bootstrap": {...}, "figures": {name: {"mean", "se", "ci95"}}}]
 *
 *     attribution      of sweep --attribute: {"of": a row's name, "by", "parts": [{"name", "layer",
 *                      "role", "tensors", "weights", "bytes", "kld_mean", "ln_ppl_ratio",
 *                      "exact_set_rate": with only these quantized}], "kld_mean_sum",
 *                      "sum_to_whole"}
 *
 * and of a verification
 *
 *     against      {"path", "kind": "model" or "recording"}: all but the paths is the same for both
 *     b_minus_a    with two models: {"bootstrap", "figures"} of their difference
 *     metrics      of the last model, by the names that gates use: {name: {"value", "se"}}
 *     gate         if one was judged (NULL: none): {"file", "broken", "limits": [...]}; a limit
 *                  of --gate-all says of which "model"
 *
 * Each returns a tree that the caller cJSON_Deletes; NULL when out of memory.
 */
cJSON *mq_sweep_json(const struct mq_comparison *comparison,
                     const struct mq_attribution *attribution /* NULL: none was asked for */);
cJSON *mq_verify_json(const struct mq_comparison *comparison, const struct mq_gate *gate);

#endif

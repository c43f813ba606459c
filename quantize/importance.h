/*
 * importance.h: how much an error of a weight matters, by the column it stands in.
 *
 * The importance of column c of a matrix is the mean of x_c^2 over the inputs that the matrix was seen to
 * multiply: the output's mean squared error is, as far as columns' errors are independent,
 *
 *     sum over rows and columns of importance[c] * error[row][c]^2
 *
 * which is what the encoders then lower (mq_level_encode_rows). Every matrix has its own, each expert's too.
 *
 * Who fills a table: readers of files (calibrate, formats/gguf). Who asks: convert and the evaluator's arms,
 * by way of struct mq_policy.
 */
#ifndef MQ_IMPORTANCE_H
#define MQ_IMPORTANCE_H

#include "json_tree.h"
#include "model_view.h"

struct mq_importance;

/* An empty table; `source` is where it comes from, for metadata and messages: a file's name. */
moeq_status mq_importance_create(const char *source, struct mq_importance **importance,
                                 moeq_error *err);
void mq_importance_destroy(struct mq_importance *importance); /* NULL is fine */

/*
 * Adds a matrix by its official name (struct mq_tensor.name: each expert has one): `cols` values, which
 * are copied, from so many inputs; UINT64_MAX: not known, which counts as many. MOEQ_MALFORMED if one is
 * negative or not finite, there are none, or the name is there already. All zero, or no inputs: nothing
 * is known, and all columns count alike.
 */
moeq_status mq_importance_add(struct mq_importance *importance, const char *name,
                              const float *columns, size_t cols, uint64_t inputs, moeq_error *err);

/* The importance of a tensor's `cols` columns, or NULL: none is known, or the table (NULL is fine) is one
 * of matrices of another width (see mq_importance_check). */
const float *mq_importance_columns(const struct mq_importance *importance,
                                   const struct mq_tensor *tensor);

size_t mq_importance_count(const struct mq_importance *importance); /* matrices */
const char *mq_importance_source(const struct mq_importance *importance);
/* The tokens of the texts that it is of, a list as of token_profile.h; NULL: not known. Setting copies. */
moeq_status mq_importance_set_calibrated_on(struct mq_importance *importance, const char *list,
                                            moeq_error *err);
const char *mq_importance_calibrated_on(const struct mq_importance *importance);
const char *mq_importance_name(const struct mq_importance *importance); /* without its folder */

/* Of everything but the source, in whatever order it was added. */
uint32_t mq_importance_fingerprint(const struct mq_importance *importance);

/* "importance": {"path", "matrices", "fingerprint"}; nothing for NULL. */
void mq_importance_put_json(struct mq_json_tree *tree, cJSON *object,
                            const struct mq_importance *importance);

/* Fails if a matrix has another number of columns in the view, or the two have none in common: the table
 * is of another model. */
moeq_status mq_importance_check(const struct mq_importance *importance, const struct mq_view *view,
                                moeq_error *err);

/*
 * Adds MQ_IMPORTANCE_FLOOR of a matrix's mean to each of its columns: on other text, columns that hardly counted count too.
 * Measured on a model of 3 layers and 8 experts, KL divergence on articles (± .0003): by the importance of code q3_k .0115 without
 * and .0106 with it, iq3_xxs .0174 and .0155, iq2_xs .0446 and .0419 (.0108, .0165 and .0430 without importance); by
 * that of other articles q3_k .0099 and .0097, q4_k .0029 and .0030.
 */
#define MQ_IMPORTANCE_FLOOR 0.3
void mq_importance_raise(struct mq_importance *importance);

/*
 * Few inputs say little: columns[] = (inputs * columns + n0 * prior) / (inputs + n0) with n0 =
 * MQ_IMPORTANCE_PRIOR. Measured: at 128 tokens an expert this lowers the KL divergence by a tenth.
 */
#define MQ_IMPORTANCE_PRIOR 128.0
void mq_importance_blend(float *columns, size_t cols, uint64_t inputs, const float *prior);

/* Does so for every expert's matrix of the view in the table, once: the prior of gate and up is the mean over
 * the layer's experts, by inputs; that of down, whose columns have another meaning in every expert, its
 * own mean in all columns. */
moeq_status mq_importance_blend_experts(struct mq_importance *importance,
                                        const struct mq_view *view, moeq_error *err);

#endif

/* choice_option.h: --size, and --gpu or --vram, of convert and export without a text: the largest level or recipe
 * that is held. With a text a budget chooses levels matrix by matrix: budget_option.h. */
#ifndef MQ_CHOICE_OPTION_H
#define MQ_CHOICE_OPTION_H

#include "fit.h"
#include "model_options.h"

/* What a level or recipe needs of what there is. */
struct mq_choice_row {
    struct mq_option_target target; /* neither: levels as in the source */
    const char *name;
    uint64_t weight_bytes, needed_bytes;
    int64_t spare_bytes;
    bool held;
};

struct mq_choice {
    bool given;
    struct mq_fit_target target; /* of --gpu and --vram, */
    const struct mq_kv_kind *kv; /* with this cache; NULL: --size */
    uint64_t context;
    struct mq_choice_row chosen, larger; /* larger: the smallest that is not held; name NULL: there is none */
    bool no_text; /* of a budget by a text: all of it is held as it is stored */
    size_t tried, left_out;              /* left_out: GGUF cannot store them */
};

/* Chooses among --levels, or all. MQ_EXIT_GOOD, or the code to leave with after a message. */
enum mq_exit mq_choice_make(const char *command, const struct mq_options *options,
                            const struct mq_view *view, const struct mq_gguf_options *gguf,
                            struct mq_choice *choice);

/* Of a budget by a text: whether what --size or the card give holds the source as it is, so that there is nothing to
 * choose by the text. */
enum mq_exit mq_choice_make_stored(const char *command, const struct mq_options *options,
                                   const struct mq_view *view, const struct mq_gguf_options *gguf,
                                   struct mq_choice *choice, bool *held);

void mq_choice_print(const struct mq_options *options, const struct mq_choice *choice);
void mq_choice_put_json(struct mq_json_tree *b, cJSON *o, const struct mq_choice *choice);

#endif

/* generation_json.c: what a continuation and a parting are in JSON. */
#include "generation_json.h"

#include <math.h>

static cJSON *ids_json(struct mq_json_tree *b, const int32_t *ids, size_t count)
{
    cJSON *array = mq_json_array(b);
    for (size_t i = 0; i < count; i++)
        mq_json_append(b, array, cJSON_CreateNumber(ids[i]));
    return array;
}

cJSON *mq_generation_json(struct mq_json_tree *b, const struct mq_generation *g, const char *text)
{
    cJSON *o = mq_json_object(b), *logprobs = mq_json_array(b);
    mq_json_put_count(b, o, "tokens", g->count);
    mq_json_put_text(b, o, "text", text);
    mq_json_put(b, o, "ids", ids_json(b, g->ids, g->count));
    for (size_t i = 0; i < g->count; i++)
        mq_json_append(b, logprobs, cJSON_CreateNumber(g->logprobs[i]));
    mq_json_put(b, o, "logprobs", logprobs);
    mq_json_put_text(b, o, "end", mq_generation_end_name(g->end));
    if (g->end_id >= 0)
        mq_json_put_count(b, o, "end_id", (uint64_t)g->end_id);
    return o;
}

static cJSON *choice_json(struct mq_json_tree *b, const struct mq_tokenizer *tokenizer, int32_t id,
                          double in_base, double in_other)
{
    cJSON *o = mq_json_object(b);
    struct mq_buffer text = {0};
    mq_json_put_count(b, o, "id", (uint64_t)id);
    if (mq_tokenizer_decode(tokenizer, &id, 1, false, &text, NULL) == MOEQ_OK) {
        mq_buffer_putc(&text, '\0');
        mq_json_put_text(b, o, "text", text.data);
    }
    mq_buffer_free(&text);
    mq_json_put_number(b, o, "probability_in_base", in_base);
    mq_json_put_number(b, o, "probability_in_other", in_other);
    return o;
}

cJSON *mq_parting_json(struct mq_json_tree *b, const struct mq_tokenizer *tokenizer,
                       const struct mq_parting *p)
{
    if (!p->parts)
        return cJSON_CreateNull();
    cJSON *o = mq_json_object(b);
    mq_json_put_count(b, o, "token", p->at);
    mq_json_put(b, o, "base",
                choice_json(b, tokenizer, p->base_id, p->base_of_base, p->other_of_base));
    mq_json_put(b, o, "other",
                choice_json(b, tokenizer, p->id, p->base_of_other, p->other_of_other));
    return o;
}

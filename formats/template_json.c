/* template_json.c: BOS and EOS as the `tokenizers` library writes its TemplateProcessing. */
#include "template_json.h"

#include <inttypes.h>

static void put_text(struct mq_buffer *json, const struct mq_end_token *token)
{
    mq_buffer_put_json(json, token->text, token->size);
}

static void put_special(struct mq_buffer *json, const struct mq_end_token *token)
{
    mq_buffer_puts(json, "{\"SpecialToken\": {\"id\": ");
    put_text(json, token);
    mq_buffer_puts(json, ", \"type_id\": 0}}");
}

void mq_put_template(struct mq_buffer *json, const struct mq_end_token *bos,
                     const struct mq_end_token *eos)
{
    const struct mq_end_token *const named[] = {bos, eos->id == bos->id ? NULL : eos};
    const char *separator = "";
    if (bos->id < 0 && eos->id < 0) {
        mq_buffer_puts(json, "\"post_processor\": null,\n");
        return;
    }
    mq_buffer_puts(json, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [");
    if (bos->id >= 0) {
        put_special(json, bos);
        mq_buffer_puts(json, ", ");
    }
    mq_buffer_puts(json, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}");
    if (eos->id >= 0) {
        mq_buffer_puts(json, ", ");
        put_special(json, eos);
    }
    mq_buffer_puts(json, "], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                         "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {");
    for (int i = 0; i < 2; i++) {
        if (!named[i] || named[i]->id < 0)
            continue;
        mq_buffer_puts(json, separator);
        put_text(json, named[i]);
        mq_buffer_puts(json, ": {\"id\": ");
        put_text(json, named[i]);
        mq_buffer_printf(json, ", \"ids\": [%" PRId64 "], \"tokens\": [", named[i]->id);
        put_text(json, named[i]);
        mq_buffer_puts(json, "]}");
        separator = ", ";
    }
    mq_buffer_puts(json, "}},\n");
}

/* view_tokenizer.c: see view_tokenizer.h. */
#include "view_tokenizer.h"

#include "error.h"

/* What the tokenizer puts before every text: the first id of an empty one, if that is all there is
 * or if it is the model's BOS. */
static moeq_status find_bos(const struct mq_tokenizer *tokenizer, int32_t model_bos, int32_t *bos,
                            moeq_error *err)
{
    struct mq_ids empty = {0};
    const moeq_status status = mq_tokenizer_encode(tokenizer, "", 0, true, &empty, err);
    *bos = -1;
    if (status == MOEQ_OK && empty.size > 0 && (empty.size == 1 || empty.data[0] == model_bos))
        *bos = empty.data[0];
    mq_ids_free(&empty);
    return status;
}

moeq_status mq_view_tokenizer(const struct mq_view *view, struct mq_tokenizer **tokenizer,
                              int32_t *bos, moeq_error *err)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    *tokenizer = NULL;
    *bos = -1;
    if (!json->size)
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: %s, so a text cannot be tokenized; give token ids (--ids) instead",
                       view->path, mq_view_no_tokenizer(view));
    MQ_TRY(mq_tokenizer_load(json->data, json->size, "tokenizer.json", tokenizer, err));
    const moeq_status status = find_bos(*tokenizer, view->hparams.bos, bos, err);
    if (status != MOEQ_OK) {
        mq_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}

/* view_json.c: what results say of the model that they are about. */
#include "view_json.h"

#include "family.h"
#include "layer_words.h"

void mq_view_put_json(struct mq_json_tree *tree, cJSON *object, const struct mq_view *view)
{
    const struct mq_hparams *h = &view->hparams;
    mq_json_put_text(tree, object, "path", view->path);
    mq_json_put_text(tree, object, "family", view->family->name);
    mq_json_put_count(tree, object, "layers", h->layers);
    mq_json_put_count(tree, object, "experts", h->experts);
    mq_json_put_count(tree, object, "experts_per_token", h->top_k);
    mq_json_put_count(tree, object, "vocabulary", h->vocab);
    mq_json_put(tree, object, "made_of", mq_layer_words_json(view));
    mq_json_put(tree, object, "notes", mq_view_notes_json(view));
}

cJSON *mq_view_files_json(const struct mq_view *view)
{
    struct mq_json_tree b = {0};
    cJSON *files = mq_json_array(&b);
    for (size_t i = 0; i < view->files_count; i++) {
        cJSON *file = mq_json_object(&b);
        mq_json_put_text(&b, file, "name", view->files[i].name);
        mq_json_put_count(&b, file, "bytes", view->files[i].file.size_bytes);
        mq_json_put_hex(&b, file, "header_crc32", view->files[i].header_crc32);
        mq_json_append(&b, files, file);
    }
    return mq_json_finish(&b, files);
}

cJSON *mq_view_notes_json(const struct mq_view *view)
{
    struct mq_json_tree b = {0};
    cJSON *list = mq_json_array(&b);
    for (size_t i = 0; i < view->notes_count; i++)
        mq_json_append(&b, list, cJSON_CreateString(view->notes[i]));
    return mq_json_finish(&b, list);
}

/* config_view.c: a view of config.json alone, for planning a model that is not here. */
#include "claimed_storage.h"
#include "config_keys.h"
#include "view_int.h"

#include "checked.h"
#include "error.h"
#include "json.h"
#include "open_options.h"
#include "text_match.h"

#include <inttypes.h>
#include <string.h>

/* How weights that are not here are stored. */
struct unseen {
    enum mq_dtype dtype;
    struct mq_claimed_modules quantized;
};

/* "dtype" is what Transformers 5 writes, "torch_dtype" what all before it did. Checkpoints of the
 * families that moeq knows are published in bfloat16 where the config is silent. */
static moeq_status read_storage(struct mq_view *view, const char *path, struct unseen *unseen,
                                moeq_error *err)
{
    static const struct {
        const char *name;
        enum mq_dtype dtype;
    } dtypes[] = {{"bfloat16", MQ_BF16}, {"float16", MQ_F16}, {"float32", MQ_F32}};
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *config = NULL, *outer = NULL;
    const struct mq_buffer *text = &view->side[MQ_SIDE_CONFIG];
    unseen->dtype = MQ_BF16;
    MQ_TRY(mq_json_parse(text->data, text->size, &limits, path, 0, &config, err));
    moeq_status status = mq_config_flatten(&config, &outer, err);
    const cJSON *name = mq_json_get(config, "dtype");
    if (!name || cJSON_IsNull(name))
        name = mq_json_get(config, "torch_dtype");
    bool known = !name || cJSON_IsNull(name);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (cJSON_IsString(name) && strcmp(name->valuestring, dtypes[i].name) == 0) {
            unseen->dtype = dtypes[i].dtype;
            known = true;
        }
    if (status == MOEQ_OK && !known)
        status = mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                              "weights of dtype \"%.40s\" are not supported (float32, float16, "
                              "bfloat16)",
                              cJSON_IsString(name) ? name->valuestring : "?");
    if (status == MOEQ_OK)
        status = mq_claimed_modules_read(view, config, &unseen->quantized, err);
    cJSON_Delete(config);
    cJSON_Delete(outer);
    return status;
}

/* A tensor of which there is only the config's word. Fails if it is larger than any model's. */
static moeq_status place_unseen(void *user, struct mq_view *view, struct mq_tensor *t,
                                moeq_error *err)
{
    /* mq_view_build allows 2^18 tensors: such ones in f32 are 2^60 bytes, so no sum overflows.
     * Known models have 2^40 weights in all. */
    const uint64_t max_tensor_weights = UINT64_C(1) << 40;
    const struct unseen *unseen = user;
    uint64_t weights;
    if (!mq_mul_u64(t->rows, t->cols, &weights) || weights > max_tensor_weights)
        return mq_fail_file(err, MOEQ_LIMIT, view->path,
                            "asks for a tensor '%s' of %" PRIu64 " x %" PRIu64
                            " weights: no model has one so large",
                            t->name, t->rows, t->cols);
    t->storage = mq_dtype_storage(unseen->dtype);
    t->row_bytes = t->cols * mq_dtype_bytes(unseen->dtype);
    return unseen->quantized.plain ? mq_claimed_storage(view, &unseen->quantized, t, err) : MOEQ_OK;
}

static moeq_status build(struct mq_view *view, struct unseen *unseen, moeq_error *err)
{
    const struct mq_view_source source = {.user = unseen, .place = place_unseen};
    view->kind = MQ_VIEW_CONFIG;
    if (view->options.lm_head != MQ_HEAD_DEFAULT)
        view->hparams.tied_head = view->options.lm_head == MQ_HEAD_TIED;
    return mq_view_build(view, &source, err);
}

moeq_status mq_view_build_from_config(struct mq_view *view, enum mq_dtype dtype, moeq_error *err)
{
    struct unseen unseen = {.dtype = dtype};
    return build(view, &unseen, err);
}

static moeq_status open_config(const char *path, struct mq_view *view, moeq_error *err)
{
    enum { CAP_BYTES = 16 << 20 };
    struct unseen unseen = {0};
    MQ_TRY(mq_file_read_all(path, CAP_BYTES, &view->side[MQ_SIDE_CONFIG], err));
    MQ_TRY(mq_config_parse(view, path, err));
    MQ_TRY(read_storage(view, path, &unseen, err));
    /* The one source file: what messages about a tensor name. */
    view->files = mq_arena_alloc(view->arena, 1, sizeof *view->files);
    if (!view->files)
        return mq_fail_memory(err, "opening a model");
    view->files[0].name = mq_base_name(view->path);
    MQ_TRY(mq_file_open(path, &view->files[0].file, err));
    view->files_count = 1;
    return build(view, &unseen, err);
}

moeq_status mq_view_from_config(const char *path, const struct mq_open_options *options,
                                struct mq_view **out, moeq_error *err)
{
    *out = NULL;
    struct mq_view *view = mq_view_create(path);
    if (!view)
        return mq_fail_memory(err, "opening a model");
    moeq_status status = mq_view_set_options(view, options, err);
    if (status == MOEQ_OK)
        status = open_config(path, view, err);
    if (status != MOEQ_OK) {
        mq_view_close(view);
        return status;
    }
    *out = view;
    return MOEQ_OK;
}

/* stored.c: which level a tensor's bytes are in. */
#include "stored.h"

#include "error.h"
#include "file.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

moeq_status mq_tensor_stored(const struct mq_view *view, const struct mq_tensor *t,
                             const struct mq_level **level, moeq_error *err)
{
    *level = mq_level_of_storage(t->storage);
    if (!*level)
        return mq_view_fail_row(err, MOEQ_UNSUPPORTED, view, t, 0,
                                "is stored at the unknown level \"%.40s\"", t->storage);
    if (!mq_level_can_encode(*level) && !(*level)->may_be_cut && t->cols % (*level)->block_weights != 0)
        return mq_view_fail_row(err, MOEQ_MALFORMED, view, t, 0,
                                "a row at %s has a multiple of %" PRIu32 " weights, not %" PRIu64,
                                t->storage, (*level)->block_weights, t->cols);
    const uint64_t expected = mq_level_row_bytes(*level, t->cols);
    if (t->row_bytes != expected)
        return mq_view_fail_row(err, MOEQ_MALFORMED, view, t, 0,
                                "a row of %" PRIu64 " weights at %s has %" PRIu64
                                " bytes, the file has %" PRIu64,
                                t->cols, t->storage, expected, t->row_bytes);
    return MOEQ_OK;
}

moeq_status mq_tensor_level(const struct mq_view *view, const struct mq_tensor *t,
                            const struct mq_level **level, moeq_error *err)
{
    MQ_TRY(mq_tensor_stored(view, t, level, err));
    if (mq_level_can_decode(*level))
        return MOEQ_OK;
    char list[300] = "";
    for (size_t i = 0; i < mq_levels_count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 mq_levels[i].name);
    return mq_view_fail_row(
        err, MOEQ_UNSUPPORTED, view, t, 0,
        "is stored as %s, which moeq cannot decode (it can: %s); inspect, check, "
        "fit, and copying it as it is need not decode it",
        t->storage, list);
}

moeq_status mq_model_open_with(const char *path, const struct mq_open_options *options,
                               struct mq_view **out, moeq_error *err)
{
    struct mq_view *view;
    *out = NULL;
    MQ_TRY(mq_view_open_with(path, options, &view, err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_level *level;
        const moeq_status status = mq_tensor_stored(view, &view->tensors[i], &level, err);
        if (status != MOEQ_OK) {
            mq_view_close(view);
            return status;
        }
    }
    *out = view;
    return MOEQ_OK;
}

moeq_status mq_model_open(const char *path, struct mq_view **view, moeq_error *err)
{
    return mq_model_open_with(path, NULL, view, err);
}

moeq_status mq_model_open_or_config(const char *path, const struct mq_open_options *options,
                                    struct mq_view **view, moeq_error *err)
{
    const bool config = mq_ends_with(path, ".json") && !mq_ends_with(path, MQ_INDEX_ENDING) &&
                        !mq_path_is_folder(path);
    if (config)
        return mq_view_from_config(path, options, view, err);
    moeq_error whole = {0}, part = {0};
    const moeq_status status = mq_model_open_with(path, options, view, &whole);
    /* No weights are there, or not all files: sizes need none. Files that lack a tensor are broken. */
    if (status == MOEQ_NOT_FOUND && !whole.tensor[0] &&
        mq_view_open_config(path, options, view, &part) == MOEQ_OK)
        return mq_view_note(*view, err, "no weights were read: %s", whole.message);
    if (err && status != MOEQ_OK)
        *err = whole;
    return status;
}

/* baseline.c: a model or a recording, opened, and its windows. */
#include "baseline.h"

#include "error.h"
#include "stored.h"

#include <stdlib.h>
#include <string.h>

struct mq_baseline mq_baseline_of(const struct mq_view *view)
{
    return (struct mq_baseline){.name = "source", .path = view->path, .view = view};
}

moeq_status mq_baseline_open(const struct mq_context *context, const char *path,
                             const struct mq_open_options *open, struct mq_baseline *baseline,
                             moeq_error *err)
{
    bool recorded;
    *baseline = (struct mq_baseline){.name = "baseline", .path = path};
    MQ_TRY(mq_is_recording(path, &recorded, err));
    if (recorded) {
        MQ_TRY(mq_recording_open(context, path, &baseline->recording, err));
        baseline->view = baseline->recording->view;
    } else {
        MQ_TRY(mq_model_open_with(path, open, &baseline->model, err));
        baseline->view = baseline->model;
    }
    return MOEQ_OK;
}

void mq_baseline_close(struct mq_baseline *baseline)
{
    mq_recording_close(baseline->recording);
    mq_view_close(baseline->model);
    memset(baseline, 0, sizeof *baseline);
}

struct mq_arm mq_baseline_arm(const struct mq_baseline *baseline, enum mq_compute compute)
{
    struct mq_recording *recording = baseline->recording;
    return (struct mq_arm){.name = baseline->name,
                           .view = baseline->view,
                           .routes_from = -1,
                           .playback = recording ? &recording->playback : NULL,
                           .compute = recording ? recording->compute : compute};
}

struct mq_stored_size mq_baseline_size(const struct mq_baseline *baseline)
{
    const struct mq_recording *r = baseline->recording;
    return r ? (struct mq_stored_size){r->weights, r->weight_bytes, r->file_bytes}
             : mq_stored_size(baseline->view);
}

moeq_status mq_baseline_windows(const struct mq_baseline *baseline, const struct mq_view *reader,
                                const struct mq_text *text,
                                const struct mq_protocol_options *protocol,
                                struct mq_text_windows *windows, bool *other_text, moeq_error *err)
{
    const struct mq_recording *recording = baseline->recording;
    if (!recording)
        return mq_protocol_text(protocol, baseline->view, text, windows, err);
    const struct mq_text_windows *r = &recording->text;
    if (!text)
        return mq_text_windows_copy(r, windows, err);
    const size_t tokens = r->windows.count * r->windows.length;
    const struct mq_protocol_options same = {
        .protocol = r->protocol, .context = r->windows.length, .max_tokens = tokens, .like = r};
    MQ_TRY(mq_protocol_text(&same, reader, text, windows, err));
    if (windows->windows.count == r->windows.count && windows->domains_count == r->domains_count &&
        windows->ids_crc32 == r->ids_crc32 &&
        memcmp(windows->ids, r->ids, tokens * sizeof *r->ids) == 0) {
        windows->text_tokens = r->text_tokens;
        for (size_t i = 0; i < windows->domains_count && i < r->domains_count; i++)
            windows->domains[i].text_tokens = r->domains[i].text_tokens;
        return MOEQ_OK;
    }
    *other_text = true;
    mq_text_windows_free(windows);
    return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                   "%s: its tokens are not those of the recording %s, which has its own text "
                   "('%s'): leave --text out",
                   text->name, baseline->view->path, recording->text_name);
}

/* evaluation_needs.c: the memory of moeq's own evaluator, for fit. */
#include "evaluation_needs.h"

#include "error.h"
#include "evaluator.h"
#include "json_tree.h"
#include "sizes.h"
#include "view_json.h"

#include <inttypes.h>
#include <math.h>

enum { USUAL_WINDOW = 512, MANY = 128 };

moeq_status mq_evaluation_needs(const struct mq_context *context, const struct mq_view *view,
                                const char *gpu, const char *vram, uint64_t window_tokens,
                                const char *dash, struct mq_evaluation_needs *needs,
                                moeq_error *err)
{
    const uint64_t tokens = window_tokens ? window_tokens : USUAL_WINDOW;
    *needs = (struct mq_evaluation_needs){.view = view, .window_tokens = tokens};
    if (gpu)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%sruntime moeq runs on the processor: %svram SIZE says how much memory "
                       "it may have, %sgpu nothing",
                       dash, dash, dash);
    if (vram && !mq_parse_size(vram, &needs->available_bytes))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%svram '%s': expected a size such as 16GiB",
                       dash, vram);
    if (tokens > INT32_MAX)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%scontext %" PRIu64 ": windows have fewer tokens", dash, tokens);
    const struct mq_arm arm = {.view = view, .routes_from = -1};
    needs->needed_bytes = mq_evaluation_bytes(context, &arm, 1, tokens, 1);
    /* of many: the first ones also fill the work area */
    needs->window_bytes =
        (mq_evaluation_bytes(context, &arm, 1, tokens, 1 + MANY) - needs->needed_bytes) / MANY;
    needs->buffer_bytes = needs->needed_bytes - needs->window_bytes;
    return MOEQ_OK;
}

cJSON *mq_evaluation_needs_json(const struct mq_evaluation_needs *n)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "fit"), *model = mq_json_object(&b),
          *target = mq_json_object(&b);
    mq_json_put(&b, o, "model", model);
    mq_view_put_json(&b, model, n->view);
    mq_json_put(&b, o, "target", target);
    mq_json_put_text(&b, target, "runtime", "moeq");
    mq_json_put_number(&b, target, "usable_bytes",
                       n->available_bytes ? (double)n->available_bytes : (double)NAN);
    mq_json_put_count(&b, o, "window_tokens", n->window_tokens);
    mq_json_put_number(&b, o, "buffer_bytes", (double)n->buffer_bytes);
    mq_json_put_number(&b, o, "window_bytes", (double)n->window_bytes);
    mq_json_put_number(&b, o, "needed_bytes", (double)n->needed_bytes);
    mq_json_put_bool(&b, o, "fits", !n->available_bytes || n->needed_bytes <= n->available_bytes);
    return mq_json_finish(&b, o);
}

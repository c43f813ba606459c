/* losses.c: see the header. */
#include "losses.h"

#include "error.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static float root_mean(double squares, uint64_t n)
{
    return n ? (float)fmin(sqrt(squares / (double)n), (double)FLT_MAX) : 0.0f;
}

struct mq_loss mq_loss_of(const struct mq_square_sums *sums, uint64_t weights)
{
    return (struct mq_loss){root_mean(sums->lost, weights), root_mean(sums->weights, weights),
                            root_mean(fmax(sums->within, 0), weights)};
}

void mq_loss_add(struct mq_square_sums *sums, const struct mq_loss *loss, uint64_t weights)
{
    sums->lost += (double)loss->lost * loss->lost * (double)weights;
    sums->weights += (double)loss->weights * loss->weights * (double)weights;
    sums->within += (double)loss->within * loss->within * (double)weights;
}

static struct mq_square_sums sums_of(const struct mq_loss *loss)
{
    struct mq_square_sums sums = {0};
    mq_loss_add(&sums, loss, 1);
    return sums;
}

/* How many times what is expected. */
static double times(const struct mq_lossy *l)
{
    return l->error / fmax(l->expected, (double)FLT_MIN);
}

/* Before the others that are less bad; of equals the view's order, so that the order of adding makes no difference. */
static bool before(const struct mq_lossy *a, const struct mq_lossy *b)
{
    return times(a) > times(b) || (times(a) == times(b) && a->tensor < b->tensor);
}

void mq_losses_add(struct mq_losses *losses, const struct mq_tensor *tensor,
                   const struct mq_level *level, const struct mq_loss *loss)
{
    const struct mq_square_sums sums = sums_of(loss);
    struct mq_lossy l = {tensor, level, mq_relative_error(&sums),
                         mq_level_error_expected(level, &sums), mq_level_error_far(level, &sums)};
    if (!l.far && !mq_level_error_noted(level, &sums))
        return;
    losses->count++;
    losses->far_count += l.far;
    for (size_t i = 0; i < MQ_LOSSES_LISTED; i++) {
        if (i < losses->listed_count && !before(&l, &losses->listed[i]))
            continue;
        const struct mq_lossy next = losses->listed[i];
        losses->listed[i] = l;
        if (i == losses->listed_count) {
            losses->listed_count++;
            return;
        }
        l = next;
    }
}

moeq_status mq_loss_judge(const struct mq_view *view, const struct mq_tensor *t,
                          const struct mq_level *level, const struct mq_loss *loss, moeq_error *err)
{
    const struct mq_square_sums sums = sums_of(loss);
    char where[96];
    if (!mq_level_error_far(level, &sums))
        return MOEQ_OK;
    mq_role_place(t->layer, t->expert, mq_role_name(t->role), where, sizeof where);
    return mq_view_fail_row(err, MOEQ_UNSUPPORTED, view, t, 0,
                            "%s: at %s its weights (%.2g in the root mean square) lose %.3g of "
                            "their size, expected %.2g: they are beyond the range of its scales. "
                            "Give it another level (--tensor '%.120s=bf16'), or go on with "
                            "--allow-loss, which lists all such",
                            where, level->name, (double)loss->weights, mq_relative_error(&sums),
                            mq_level_error_expected(level, &sums), t->name);
}

void mq_losses_describe(const struct mq_losses *losses, char *text, size_t room)
{
    char line[400];
    size_t told = 0;
    int n = snprintf(line, sizeof line, "%" PRIu64 " matri%s lost more than usual at %s level%s",
                     losses->count, losses->count == 1 ? "x" : "ces",
                     losses->count == 1 ? "its" : "their", losses->count == 1 ? "" : "s");
    if (room)
        text[0] = '\0';
    for (size_t used = 0; n > 0 && used + (size_t)n < room; told++) {
        memcpy(text + used, line, (size_t)n + 1);
        used += (size_t)n;
        if (told == losses->listed_count)
            return;
        const struct mq_lossy *l = &losses->listed[told];
        n = snprintf(line, sizeof line, "%s '%.200s' %s %.3g (usual: %.2g)", told ? ";" : ":",
                     mq_tensor_shown(l->tensor), l->level->name, l->error,
                     l->expected);
    }
}

cJSON *mq_losses_json(struct mq_json_tree *b, const struct mq_losses *losses)
{
    cJSON *list = mq_json_array(b);
    for (size_t i = 0; i < losses->listed_count; i++) {
        const struct mq_lossy *l = &losses->listed[i];
        cJSON *row = mq_json_object(b);
        mq_json_put_text(b, row, "tensor", mq_tensor_shown(l->tensor));
        mq_json_put_text(b, row, "level", l->level->name);
        mq_json_put_number(b, row, "error", l->error);
        mq_json_put_number(b, row, "usual", l->expected);
        mq_json_put_bool(b, row, "beyond_range", l->far);
        mq_json_append(b, list, row);
    }
    return list;
}

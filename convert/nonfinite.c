/* nonfinite.c: a weight is NaN or infinite if all bits of its exponent are set. */
#include "nonfinite.h"

#include "error.h"

#include <inttypes.h>
#include <string.h>

/* Plain loops over a block in the first-level cache, which the compiler makes vectors of. */
enum { BLOCK = 4096 };

/* What is told of by name; of the others only the number is. */
enum { TOLD_TENSORS = 4 };

static uint64_t count_16(const unsigned char *bytes, uint64_t n, uint16_t exponent)
{
    uint16_t x[BLOCK];
    uint16_t count = 0; /* n is at most BLOCK */
    memcpy(x, bytes, n * sizeof *x);
    for (uint64_t i = 0; i < n; i++)
        count = (uint16_t)(count + ((x[i] & exponent) == exponent));
    return count;
}

static uint64_t count_32(const unsigned char *bytes, uint64_t n)
{
    uint32_t x[BLOCK];
    uint32_t count = 0;
    memcpy(x, bytes, n * sizeof *x);
    for (uint64_t i = 0; i < n; i++)
        count += (x[i] & 0x7f800000) == 0x7f800000;
    return count;
}

/* How floats are stored. */
static const struct format {
    const char *storage;
    size_t bytes;
    uint32_t exponent, fraction; /* their bits */
} formats[] = {
    {"bf16", 2, 0x7f80, 0x7f},
    {"f16", 2, 0x7c00, 0x3ff},
    {"f32", 4, 0x7f800000, 0x7fffff},
};

static const struct format *find_format(const char *storage)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].storage, storage) == 0)
            return &formats[i];
    return NULL;
}

static uint64_t count_block(const struct format *f, const unsigned char *bytes, uint64_t n)
{
    return f->bytes == 4 ? count_32(bytes, n) : count_16(bytes, n, (uint16_t)f->exponent);
}

static bool is_nan(const struct format *f, const unsigned char *weight)
{
    uint32_t wide = 0;
    uint16_t narrow = 0;
    memcpy(f->bytes == 4 ? (void *)&wide : (void *)&narrow, weight, f->bytes);
    return ((wide | narrow) & f->fraction) != 0;
}

struct mq_nonfinite mq_nonfinite_count(const char *storage, const void *weights, uint64_t n)
{
    const struct format *f = find_format(storage);
    const unsigned char *bytes = weights;
    struct mq_nonfinite found = {0};
    for (uint64_t at = 0, m; f && at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        const uint64_t count = count_block(f, bytes + at * f->bytes, m);
        if (count && !found.count) {
            found.first = at;
            while (!count_block(f, bytes + found.first * f->bytes, 1))
                found.first++;
            found.first_is_nan = is_nan(f, bytes + found.first * f->bytes);
        }
        found.count += count;
    }
    return found;
}

void mq_nonfinite_add(struct mq_nonfinite *tensor, uint64_t at, const struct mq_nonfinite *part)
{
    if (part->count && (!tensor->count || at + part->first < tensor->first)) {
        tensor->first = at + part->first;
        tensor->first_is_nan = part->first_is_nan;
    }
    tensor->count += part->count;
}

/* sign | exponent, all ones | quiet bit of a NaN, and as much of its fraction as there is room for:
 * as processors convert them. */
void mq_nonfinite_carry(const float *weights, uint64_t n, const char *storage, void *encoded)
{
    const struct format *f = find_format(storage);
    unsigned char *out = encoded;
    for (uint64_t i = 0; f && i < n; i++) {
        uint32_t x, bits;
        memcpy(&x, &weights[i], sizeof x);
        if ((x & 0x7f800000) != 0x7f800000)
            continue;
        bits = f->exponent;
        if (x & 0x7fffff) /* the fraction's upper end, as its bits are those of a number 2^k - 1 */
            bits |= (f->fraction + 1) / 2 | (x & 0x7fffff) / (0x800000 / (f->fraction + 1));
        bits |= (x >> 31) << (8 * f->bytes - 1);
        const uint16_t narrow = (uint16_t)bits;
        memcpy(out + i * f->bytes, f->bytes == 4 ? (const void *)&bits : &narrow, f->bytes);
    }
}

bool mq_nonfinite_fit(const struct mq_plan_entry *e)
{
    return e->level == e->source || find_format(e->level->name);
}

/* ---- telling ---- */

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* "1 in 'a' at row 0, column 5", with " weights" behind the number where `what` is that. */
static void put_place(struct mq_buffer *text, const struct mq_tensor *t,
                      const struct mq_nonfinite *f, const char *what)
{
    mq_buffer_printf(text, "%" PRIu64 "%s%s in '%.128s' %s row %" PRIu64 ", column %" PRIu64,
                     f->count, what, what[0] ? plural(f->count) : "", mq_tensor_shown(t),
                     f->count > 1 ? "from" : "at", f->first / t->cols, f->first % t->cols);
}

/* "14 weights in 5 tensors: 4 in 'a' from row 0, column 5; 1 in 'b' at row 7, column 0; ...; 2 in
 * 1 other", or of one tensor "4 weights in 'a' from row 0, column 5". Returns their number. */
static uint64_t put_all(const struct mq_plan *plan, const struct mq_nonfinite *found,
                        struct mq_buffer *text)
{
    uint64_t weights = 0, tensors = 0, told = 0, told_weights = 0;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        weights += found[i].count;
        tensors += found[i].count > 0;
    }
    if (tensors > 1)
        mq_buffer_printf(text, "%" PRIu64 " weights in %" PRIu64 " tensors: ", weights, tensors);
    for (size_t i = 0; i < plan->view->tensors_count && told < TOLD_TENSORS; i++) {
        if (!found[i].count)
            continue;
        mq_buffer_puts(text, told++ ? "; " : "");
        put_place(text, plan->entries[i].tensor, &found[i], tensors > 1 ? "" : " weight");
        told_weights += found[i].count;
    }
    if (tensors > told)
        mq_buffer_printf(text, "; %" PRIu64 " in %" PRIu64 " other%s", weights - told_weights,
                         tensors - told, plural(tensors - told));
    return weights;
}

uint64_t mq_nonfinite_describe(const struct mq_plan *plan, const struct mq_nonfinite *found,
                               struct mq_buffer *text)
{
    struct mq_buffer all = {0};
    const uint64_t weights = put_all(plan, found, &all);
    if (weights)
        mq_buffer_printf(text, "copied although NaN or infinite: %s",
                         mq_buffer_ok(&all) ? all.data : "");
    text->failed |= all.failed;
    mq_buffer_free(&all);
    return weights;
}

moeq_status mq_nonfinite_refuse(const struct mq_plan *plan, const struct mq_nonfinite *found,
                                moeq_error *err)
{
    size_t first = 0;
    bool fit = true;
    struct mq_buffer text = {0};
    for (size_t i = plan->view->tensors_count; i-- > 0;)
        if (found[i].count) {
            first = i;
            fit = fit && mq_nonfinite_fit(&plan->entries[i]);
        }
    const struct mq_tensor *t = plan->entries[first].tensor;
    const struct mq_nonfinite *f = &found[first];
    mq_buffer_printf(&text, "row %" PRIu64 ", column %" PRIu64 ": weight is %s; ",
                     f->first / t->cols, f->first % t->cols, f->first_is_nan ? "NaN" : "infinite");
    /* What can be done stands before the list, which the room for a message may cut. */
    if (fit)
        mq_buffer_puts(&text, "--allow-nonfinite copies such weights as they are");
    else
        mq_buffer_printf(&text,
                         "blocks cannot hold such weights: mend the model, or keep their tensors "
                         "as they are (--tensor 'NAME=%s' --allow-nonfinite)",
                         plan->entries[first].source->name);
    struct mq_buffer all = {0};
    if (put_all(plan, found, &all) > 1)
        mq_buffer_printf(&text, "; in all %s", mq_buffer_ok(&all) ? all.data : "");
    text.failed |= all.failed;
    mq_buffer_free(&all);
    const moeq_status status = mq_buffer_ok(&text)
                                   ? mq_view_fail_row(err, MOEQ_UNSUPPORTED, plan->view, t,
                                                      f->first / t->cols, "%s", text.data)
                                   : mq_fail_memory(err, "counting weights");
    mq_buffer_free(&text);
    return status;
}

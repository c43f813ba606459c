/*
 * fuzz_hf_folder.c: a Hugging Face folder as one input: config.json, a zero byte, the index (or
 * nothing), a zero byte, and the bytes of the file with the weights: a safetensors file whose
 * data are as many zeros as are missing, so that inputs stay small; blanks where they are of an odd length, as
 * zeros are no scales.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, but for scales and the like that are
 * none, and names are official.
 * Folders for other runtimes are planned of it, or refused: their texts are JSON.
 */
#include "fuzz_support.h"

#include "family.h"
#include "json.h"
#include "plan.h"
#include "stored.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG, INDEX, WEIGHTS, FILES };
enum { DATA_CAP = 1 << 22 };

/* Links to files in memory, made once: one folder with an index, one without. */
static char folders[2][32];
static int fds[FILES];

static void remove_folders(void)
{
    static const char *const names[] = {"config.json", "model.safetensors.index.json",
                                        "model.safetensors", "model-1.safetensors"};
    char path[128];
    for (int f = 0; f < 2; f++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            snprintf(path, sizeof path, "%s/%s", folders[f], names[i]);
            unlink(path);
        }
        rmdir(folders[f]);
    }
}

static void link_file(int folder, const char *name, int fd)
{
    char path[128], target[64];
    snprintf(path, sizeof path, "%s/%s", folders[folder], name);
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    if (symlink(target, path) != 0)
        abort();
}

static void make_folders(void)
{
    for (int i = 0; i < FILES; i++)
        if ((fds[i] = memfd_create("fuzz", MFD_CLOEXEC)) < 0)
            abort();
    for (int f = 0; f < 2; f++) {
        strcpy(folders[f], "/tmp/moeq_fuzz_XXXXXX");
        if (!mkdtemp(folders[f]))
            abort();
        link_file(f, "config.json", fds[CONFIG]);
    }
    link_file(0, "model.safetensors", fds[WEIGHTS]);
    link_file(1, "model.safetensors.index.json", fds[INDEX]);
    link_file(1, "model-1.safetensors", fds[WEIGHTS]);
    atexit(remove_folders);
}

static void put(int file, const uint8_t *bytes, size_t n)
{
    if (ftruncate(fds[file], 0) != 0 || pwrite(fds[file], bytes, n, 0) != (ssize_t)n)
        abort();
}

/* The end of the data that the header speaks of, found as text: the largest of its numbers. */
static void extend(const uint8_t *bytes, size_t n)
{
    size_t largest = 0, number = 0;
    for (size_t i = 8; i < n; i++) {
        const bool digit = bytes[i] >= '0' && bytes[i] <= '9';
        number = digit && number < DATA_CAP ? 10 * number + (size_t)(bytes[i] - '0') : 0;
        if (number > largest && number < DATA_CAP && (i + 1 == n || bytes[i + 1] == ']'))
            largest = number;
    }
    if (ftruncate(fds[WEIGHTS], (off_t)(n + largest)) != 0)
        abort();
    enum { BLANKS = 1 << 14 };
    static uint8_t blanks[BLANKS];
    memset(blanks, ' ', sizeof blanks);
    if (n % 2 && pwrite(fds[WEIGHTS], blanks, largest < BLANKS ? largest : BLANKS, (off_t)n) < 0)
        abort();
}

static void check(const struct mq_view *view)
{
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        fuzz_expect((strncmp(t->name, "model.", 6) != 0) == (t->role == MQ_ROLE_HEAD));
        fuzz_read_rows(view, t, view->claim.method != MQ_SOURCE_PLAIN);
    }
}

/* A folder for another runtime, without its side files: config.json is JSON again, whatever it was made of, and headers
 * are. */
static void plan_folders(const struct mq_view *view)
{
    const struct mq_json_limits limits = {.depth = MQ_JSON_DEEPEST, .values = 1 << 20};
    const struct mq_policy as_stored = {0};
    struct mq_view alone = *view;
    alone.kind = MQ_VIEW_CONFIG;
    for (int f = 0; f < MQ_FOLDER_FORMATS; f++) {
        const struct mq_folder_options options = {.format = (enum mq_folder_format)f,
                                                  .unify_up = true};
        struct mq_plan *plan = NULL;
        moeq_error err = {0};
        if (mq_plan_create_folder(&alone, &as_stored, &options, &plan, &err) != MOEQ_OK)
            fuzz_expect(err.message[0] && !strchr(err.message, '\n'));
        for (size_t i = 0; plan && i < plan->files_count; i++) {
            const struct mq_plan_file *file = &plan->files[i];
            const size_t before = strstr(file->name, ".json") ? 0 : 8;
            cJSON *tree = NULL;
            fuzz_expect(file->header_bytes <= file->file_bytes);
            fuzz_expect(mq_json_parse(file->header + before, (size_t)file->header_bytes - before,
                                      &limits, file->name, 0, &tree, &err) == MOEQ_OK);
            cJSON_Delete(tree);
        }
        mq_plan_free(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size, *index = memchr(data, 0, size), *weights;
    struct mq_view *view;
    moeq_error err = {0};
    if (!index || !(weights = memchr(index + 1, 0, (size_t)(end - index) - 1)))
        return 0;
    if (!folders[0][0])
        make_folders();
    put(CONFIG, data, (size_t)(index - data));
    put(INDEX, index + 1, (size_t)(weights - index) - 1);
    put(WEIGHTS, weights + 1, (size_t)(end - weights) - 1);
    extend(weights + 1, (size_t)(end - weights) - 1);
    if (mq_model_open(folders[weights > index + 1], &view, &err) == MOEQ_OK) {
        check(view);
        plan_folders(view);
        mq_view_close(view);
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    return 0;
}

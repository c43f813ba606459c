/* oracle_folders.c: listing checkpoints, and those that are not read yet. */
#include "oracle_folders.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Each with the folders whose names go on with '-' after it. */
static const char *const not_yet[] = {
    "dbrx",
    "deepseek_v32",
    "deepseek_v3_fp8",
    "gpt_oss",
    "gpt_oss_mxfp4",
    "granitemoehybrid-proj_biases",
    "kimi_k2_int4",
    "llama4",
    "minimax_m2",
    "mistral_large3_fp8",
    "olmoe-clip_qkv",
    "qwen3_vl_moe",
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void oracle_folders_add(const char *parent, struct oracle_folders *folders)
{
    const size_t first = folders->count;
    DIR *dir = opendir(parent);
    const struct dirent *entry;
    char path[1400];
    if (!dir) {
        fprintf(stderr, "no checkpoints in %s\n", parent);
        return;
    }
    while ((entry = readdir(dir)) && folders->count < ORACLE_FOLDERS_MAX) {
        snprintf(path, sizeof path, "%.1000s/%s/golden.safetensors", parent, entry->d_name);
        if (access(path, R_OK) != 0)
            continue;
        *strrchr(path, '/') = '\0';
        folders->paths[folders->count++] = strdup(path);
    }
    closedir(dir);
    qsort(folders->paths + first, folders->count - first, sizeof folders->paths[0], by_name);
}

bool oracle_is_not_yet(const char *folder)
{
    const char *name = strrchr(folder, '/') + 1;
    for (size_t i = 0; i < sizeof not_yet / sizeof *not_yet; i++) {
        const size_t n = strlen(not_yet[i]);
        if (strncmp(name, not_yet[i], n) == 0 && (name[n] == '\0' || name[n] == '-'))
            return true;
    }
    return false;
}

/* oracle_folders.c: listing checkpoints. */
#include "oracle_folders.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

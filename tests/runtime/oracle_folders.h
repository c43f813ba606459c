/* oracle_folders.h: the checkpoints of all families that tests go over. */
#ifndef MQ_ORACLE_FOLDERS_H
#define MQ_ORACLE_FOLDERS_H

#include <stddef.h>

enum { ORACLE_FOLDERS_MAX = 400 };

struct oracle_folders {
    char *paths[ORACLE_FOLDERS_MAX]; /* never freed */
    size_t count;
};

/* Adds the folders in `parent` that have a golden.safetensors, in the order of their names. */
void oracle_folders_add(const char *parent, struct oracle_folders *folders);

#endif

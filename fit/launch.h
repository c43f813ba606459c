/* launch.h: how to run a row of fit: lines to copy. */
#ifndef MQ_LAUNCH_H
#define MQ_LAUNCH_H

#include "fit.h"

enum { MQ_LAUNCH_ROOM = 1024 };

/* Texts; "" where there is nothing to say. */
struct mq_launch {
    const struct mq_fit_row *row;
    const struct mq_fit_offload *offload; /* NULL: all of it on the cards */
    double tokens_per_second;             /* upper bound; 0: unknown */
    char title[160];                /* "q4_k with the experts of 6 of 48 layers on the host" */
    char make[MQ_LAUNCH_ROOM];      /* the command that makes the file; "" if it is there */
    char llama_cpp[MQ_LAUNCH_ROOM]; /* a command */
    char ollama[MQ_LAUNCH_ROOM];    /* lines of a Modelfile */
    char lm_studio[MQ_LAUNCH_ROOM]; /* "field: value; field: value" */
    char vllm[MQ_LAUNCH_ROOM];      /* a command */
    char sglang[MQ_LAUNCH_ROOM];    /* a command */
    char mlx[MQ_LAUNCH_ROOM];       /* a command */
    char why_not[256];              /* no such file can be made: why */
    bool no_memory;                 /* for a name in these */
};

/* Of the rows of mq_fit_choose: first the one to take. Returns how many, at most 2. */
size_t mq_fit_launches(const struct mq_fit *fit, struct mq_launch launches[2]);

#endif

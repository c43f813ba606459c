/* main.c: the program of one process. */
#include "program.h"

#include <stddef.h>

int main(int argc, char **argv)
{
    mq_program_begin(argv);
    return mq_program(argc, argv, NULL);
}

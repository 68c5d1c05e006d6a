/* Threads that let whoever wakes up go first. */
#ifndef TVIX_STORE_GIVE_WAY_H
#define TVIX_STORE_GIVE_WAY_H

/*
 * From now on this thread, and those that it starts, make room at once for a thread that wakes up on their processor. It costs them
 * nothing of their share. Where the kernel cannot do that, everything stays as it is.
 */
void give_way(void);

#endif

/** Virtual machines. */
import { KiB } from './units.ts'

/** A table of eight regions has 264 bytes; nothing longer is understood. */
export const VHOST_MESSAGE_BYTES_MAX = 4 * KiB
/** Queues of one guest: one of high priority, and as many for requests as a large guest has processors. */
export const GUEST_QUEUES_MAX = 65
/** Descriptors of a queue; a read of 1 MiB takes 257 of them. */
export const GUEST_QUEUE_SIZE_MAX = 1_024
/** Requests of one guest that wait for the store; what it asks beyond stays in its queues. */
export const GUEST_REQUESTS_MAX = 512
/** A guest that is stopped waits this long for the answers to what it asked, which its front-end waits for, too. */
export const GUEST_STOP_MS_MAX = 2_000
/** Whoever broke the rules is not listened to again for this long, so that the log is not filled with it. */
export const GUEST_FAULT_MS = 1_000
/** As `FUSE_WALK_PATIENCE_US`, for guests: an emulated one makes inodes of a page of 25 entries in 600 to 1,000 µs, KVM in a tenth of that. */
export const GUEST_WALK_PATIENCE_US = 1_500
export const GUEST_WALK_QUICK_MS = 1.5
/** Guests that asked within this time share the thread: none of them is waited for, in milliseconds. */
export const GUEST_COMPANY_MS = 100
/** Inodes that a guest gives back at its end before others are served again. */
export const GUEST_FORGETS_PER_TURN = 2_048

/**
 * The vhost-user protocol (QEMU docs/interop/vhost-user.rst), as far as a virtio-fs device without migration and DAX needs
 * it. All integers are in the host's byte order.
 */

/** Requests of the front-end. */
export const VhostRequest = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
} as const

export const HEADER = { bytes: 12, request: 0, flags: 4, size: 8 } as const
export const VERSION = 1
export const MessageFlag = { version: 3, reply: 1 << 2, needReply: 1 << 3 } as const

/** Features of virtio and of vhost-user, as bits of 64. */
export const Feature = {
  /** Where the front-end asks for a log of writes, it wants to migrate the guest: never offered. */
  LOG_ALL: 1n << 26n,
  INDIRECT_DESC: 1n << 28n,
  EVENT_IDX: 1n << 29n,
  PROTOCOL_FEATURES: 1n << 30n,
  VERSION_1: 1n << 32n,
} as const
export const FEATURES =
  Feature.INDIRECT_DESC | Feature.EVENT_IDX | Feature.PROTOCOL_FEATURES | Feature.VERSION_1

export const ProtocolFeature = { MQ: 1n << 0n, REPLY_ACK: 1n << 3n } as const
export const PROTOCOL_FEATURES = ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK

/** Of the number that comes with a descriptor: which queue, and that there is no descriptor. */
export const VringFd = { index: 0xff, none: 0x100 } as const

/** `struct vhost_vring_addr` */
export const VRING_ADDR = { bytes: 40, index: 0, flags: 4, descriptors: 8, used: 16, available: 24 } as const
export const VRING_LOG = 1

/** The head of a table of regions, and one region. */
export const MEM_TABLE = { headBytes: 8, count: 0, regionBytes: 32 } as const
export const REGIONS_MAX = 8

export function requestName(request: number): string {
  const name = Object.entries(VhostRequest).find(([, value]) => value === request)?.[0]
  return name ?? `request ${request}`
}

/**
 * Every numeric limit of the product, with its unit in its name and its reason beside it, by what it bounds. What is compared with
 * the outside world (a format, a kernel) says where the number comes from.
 */
export * from './limits/formats.ts'
export * from './limits/grpc.ts'
export * from './limits/guests.ts'
export * from './limits/http.ts'
export * from './limits/mount.ts'
export * from './limits/objects.ts'
export * from './limits/pages.ts'
export * from './limits/process.ts'
export * from './limits/sources.ts'
export * from './limits/transfer.ts'

/** What a process holds that it could forget to give back. */
export interface Held {
  readonly descriptors: number
  readonly threads: number
  readonly mounts: number
  /** Of JavaScript's memory, garbage aside. */
  readonly kilobytes: number
}

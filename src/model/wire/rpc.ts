/**
 * The remote procedures of spec §1.3, §1.4 and §1.6 as data: names, kinds and codecs. Clients and servers are
 * both made from these tables, so that they cannot disagree.
 */

/** The two names under which the same services are served: equal bytes, different packages (spec §1.13). */
export const FAMILIES = ['tvix', 'snix'] as const
export type Family = (typeof FAMILIES)[number]

export interface Codec<T> {
  encode(message: T): Uint8Array
  /** What `encode` gives, in parts to be sent one after the other: for bulk that should not be copied. */
  encodeParts?(message: T): readonly Uint8Array[]
  /** Throws ValidationError. */
  decode(bytes: Uint8Array): T
  /** A message that is there in parts, for bulk that should not be copied: it means all of these, in order. */
  decodeParts?(parts: readonly Uint8Array[]): readonly T[]
}

/** Which side sends any number of messages instead of one. */
export type MethodKind = 'unary' | 'client-stream' | 'server-stream'

export interface Method<Kind extends MethodKind, Request, Response> {
  readonly kind: Kind
  readonly request: Codec<Request>
  readonly response: Codec<Response>
  /** What a server says of a request that does not decode; by default the fault itself. */
  readonly describeFault?: (fault: string) => string
}

export type AnyMethod = Method<MethodKind, unknown, unknown>

export interface RpcService {
  /** The name below the family: `castore.v1.BlobService`. */
  readonly name: string
  readonly methods: Readonly<Record<string, AnyMethod>>
}

/** `tvix.castore.v1.BlobService` */
export function serviceName(family: Family, service: RpcService): string {
  return `${family}.${service.name}`
}

/** `/tvix.castore.v1.BlobService/Stat`: the HTTP/2 path. */
export function methodPath(family: Family, service: RpcService, method: string): string {
  return `/${serviceName(family, service)}/${method}`
}

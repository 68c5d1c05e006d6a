import type { Http2Server, ServerHttp2Session, ServerOptions } from 'node:http2'
import type { Server, ServerCredentials } from '@grpc/grpc-js'
import { StoreError } from '../../support/errors.ts'
import { GRPC_WINDOW_BYTES } from '../../support/limits.ts'

/** The parts of grpc-js's Server that it keeps to itself (1.14). */
interface Internals {
  commonServerOptions: ServerOptions
  createHttp2Server(credentials: ServerCredentials): Http2Server
}

/**
 * Lets uploads have a flow-control window of GRPC_WINDOW_BYTES, per stream and per connection. grpc-js has an
 * option for it that only its client reads (grpc/grpc-node#3058); with the 64 KiB of HTTP/2 an upload waits for
 * a round trip after every 64 KiB. Reports every session, which a graceful shutdown needs to know.
 *
 * Call it before the server listens.
 */
export function widenWindows(server: Server, onSession: (session: ServerHttp2Session) => void): void {
  const internals = server as unknown as Internals
  const create = internals.createHttp2Server
  // A release of grpc-js that renames these must fail here, and not by quietly being slow.
  if (typeof create !== 'function' || typeof internals.commonServerOptions !== 'object')
    throw new StoreError('internal', 'this version of @grpc/grpc-js hides its HTTP/2 server')
  const { commonServerOptions } = internals
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: GRPC_WINDOW_BYTES }
  internals.createHttp2Server = (credentials) => {
    const http2Server = create.call(server, credentials)
    http2Server.on('session', (session) => {
      session.setLocalWindowSize(GRPC_WINDOW_BYTES)
      onSession(session)
    })
    return http2Server
  }
}

import type { TlsOptions } from 'node:tls'
import type { Logger } from '../../support/log.ts'
import type { ListenEndpoint } from './listen-address.ts'
import type { Listener } from './listener.ts'
import type { Tokens } from './tokens.ts'

/** What keeps strangers out. */
export interface Guards {
  readonly tls?: TlsOptions | undefined
  readonly tokens?: Tokens | undefined
  /** Nobody can write here. */
  readonly isReadOnly?: boolean
}

/** Says once what an administrator should know of a listener that other machines reach. */
export function warnIfOpen(
  { address, isExposed }: Listener,
  { roles }: ListenEndpoint,
  { tls, tokens, isReadOnly = false }: Guards,
  logger: Logger,
): void {
  if (!isExposed) return
  if (tokens && !tls)
    logger.warn({ listen_address: address }, 'tokens cross the network in the clear: give --tls-cert')
  const mayWrite = !isReadOnly && !roles.includes('read-only')
  if (!tokens && tls?.requestCert !== true && mayWrite)
    logger.warn({ listen_address: address }, 'whoever reaches this address may write to the store')
}

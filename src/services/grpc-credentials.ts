import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js'
import { StoreError } from '../support/errors.ts'
import { readSettingsFile } from '../support/settings-file.ts'
import type { GrpcTlsFiles } from './grpc-address.ts'

/** How a channel is protected. Throws `invalid-argument` for files that cannot be read or used. */
export function channelCredentials(tls: GrpcTlsFiles | undefined): ChannelCredentials {
  if (!tls) return credentials.createInsecure()
  const read = (path: string | undefined) => (path === undefined ? null : readSettingsFile(path))
  const pems = [read(tls.ca), read(tls.clientKey), read(tls.clientCert)] as const
  try {
    return credentials.createSsl(...pems)
  } catch (error) {
    const paths = [tls.ca, tls.clientKey, tls.clientCert].filter((path) => path !== undefined).join(', ')
    const { message } = error as Error
    throw new StoreError('invalid-argument', `cannot use ${paths} for TLS: ${message}`, { cause: error })
  }
}

/** What each call shows to be let in; the token is the first line of its file. Throws `invalid-argument`. */
export function callCredentials(tokenFile: string | undefined): Metadata {
  const metadata = new Metadata()
  if (tokenFile === undefined) return metadata
  const [line = ''] = readSettingsFile(tokenFile).toString('latin1').split('\n')
  const token = line.trim()
  // The file is a secret, so that a message says nothing of what is in it.
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    throw new StoreError('invalid-argument', `${tokenFile}: its first line is no bearer token`)
  metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { hasProgram } from './requirements.ts'

/** `node:crypto` reads certificates and makes none. */
export const HAS_OPENSSL = hasProgram('openssl')

/** Paths of PEM files. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** An authority, in files of this name below the folder. */
export function createAuthority(folder: string, name: string): Certificate {
  const files = { cert: `${folder}/${name}.pem`, key: `${folder}/${name}.key` }
  openssl([
    'req',
    '-x509',
    ...EC_KEY,
    '-keyout',
    files.key,
    '-out',
    files.cert,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
  ])
  return files
}

export interface CertificateTraits {
  readonly signer: Certificate
  /** As OpenSSL writes them: `DNS:localhost,IP:127.0.0.1`. */
  readonly names: string
  readonly expired?: boolean
}

export function createCertificate(folder: string, name: string, traits: CertificateTraits): Certificate {
  const files = { cert: `${folder}/${name}.pem`, key: `${folder}/${name}.key` }
  const request = `${folder}/${name}.csr`
  openssl(['req', ...EC_KEY, '-keyout', files.key, '-out', request, '-subj', `/CN=${name}`])
  writeFileSync(`${folder}/${name}.ext`, `subjectAltName=${traits.names}\n`)
  const { cert, key } = traits.signer
  const signer = ['-CA', cert, '-CAkey', key, '-CAcreateserial']
  const days = ['-days', traits.expired ? '-1' : '2']
  openssl([
    'x509',
    '-req',
    '-in',
    request,
    ...signer,
    '-out',
    files.cert,
    ...days,
    '-extfile',
    `${folder}/${name}.ext`,
  ])
  return files
}

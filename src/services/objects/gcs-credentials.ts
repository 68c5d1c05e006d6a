import { readFile } from 'node:fs/promises'
import type { AuthClient, GoogleAuth } from 'google-auth-library'
import { StoreError, systemCode } from '../../support/errors.ts'
import { importSdk } from '../sdk.ts'
import { type GcsOptions, isOn } from './bucket-options.ts'
import { credentialsError } from './failure.ts'

type Sdk = typeof import('google-auth-library')

/** What proves to Google who asks: the headers of a request, fresh ones when those before have expired. */
export type GcsProof = () => Promise<Readonly<Record<string, string>>>

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'

/**
 * Without a service account in the options the credentials come from where Google's libraries look for them. Throws
 * `unimplemented` when their package is missing, `invalid-argument` for a service account that is none.
 */
export async function openGcsProof(options: GcsOptions): Promise<GcsProof> {
  if (isOn('skip_signature', options.skipSignature)) return async () => ({})
  const sdk = await importSdk('google-auth-library', () => import('google-auth-library'))
  const authClient = await givenClient(sdk, options)
  const auth = new sdk.GoogleAuth({ scopes: SCOPE, ...(authClient && { authClient }) })
  let hadSome = false
  return async () => {
    try {
      const headers = Object.fromEntries(await auth.getRequestHeaders())
      hadSome = true
      return headers
    } catch (error) {
      const current = currentToken(auth)
      if (current) return current
      throw credentialsError(error, hadSome || mayPass(error), HINT)
    }
  }
}

const HINT =
  'set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or log in with gcloud auth application-default login, or add ?google_skip_signature=true for a public bucket'

/** They renew a token minutes before it expires: so long it does, when the metadata server is away. */
function currentToken({ cachedCredential }: GoogleAuth): Readonly<Record<string, string>> | undefined {
  const { access_token: token, expiry_date: expiry } = cachedCredential?.credentials ?? {}
  return token && expiry && expiry > Date.now() ? { authorization: `Bearer ${token}` } : undefined
}

/** Of a server or a connection, and no refusal. */
function mayPass(error: unknown): boolean {
  const { response, status = response?.status } = error as {
    status?: number
    response?: { status?: number }
  }
  if (status !== undefined) return status >= 500 || status === 429
  return /^(ECONN|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE)/.test(systemCode(error) ?? '')
}

/** As an object, since the library warns on standard error of files and texts. */
async function givenClient(sdk: Sdk, options: GcsOptions): Promise<AuthClient | undefined> {
  const { serviceAccountFile: file, serviceAccountKey: text } = options
  if (file !== undefined && text !== undefined)
    throw new StoreError(
      'invalid-argument',
      'google_service_account and google_service_account_key exclude each other',
    )
  if (file !== undefined) return clientOf(sdk, await readKeyFile(file), file)
  return text === undefined ? undefined : clientOf(sdk, text, 'google_service_account_key')
}

function clientOf(sdk: Sdk, text: string, name: string): AuthClient {
  const account = parse(text, name)
  const { client_email: email, private_key: key, private_key_id: keyId } = account
  if (email && key) return new sdk.JWT({ email, key, ...(keyId && { keyId }), scopes: SCOPE })
  const { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken } = account
  if (clientId && clientSecret && refreshToken)
    return new sdk.UserRefreshClient({ clientId, clientSecret, refreshToken })
  throw new StoreError(
    'invalid-argument',
    `${name} is not the key of a service account: it lacks client_email or private_key`,
  )
}

async function readKeyFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new StoreError('invalid-argument', `cannot read the service account: ${(error as Error).message}`)
  }
}

/** Fields of a key that Google hands out. */
interface Account {
  readonly client_email?: string
  readonly private_key?: string
  readonly private_key_id?: string
  readonly client_id?: string
  readonly client_secret?: string
  readonly refresh_token?: string
}

function parse(text: string, name: string): Account {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Its message would show a part of the text.
  }
  throw new StoreError('invalid-argument', `${name} is no JSON`)
}

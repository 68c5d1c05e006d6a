import { describe, expect, it } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'

const parse = (text: string) => parseBucketUrl(text)

describe('bucket URLs', () => {
  it.each([
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '', options: {} }],
    ['s3a://bucket/a//b/', { kind: 's3', bucket: 'bucket', prefix: 'a/b/', options: {} }],
    ['s3://bucket/a%20b', { kind: 's3', bucket: 'bucket', prefix: 'a b/', options: {} }],
    ['gs://my_bucket/x', { kind: 'gcs', bucket: 'my_bucket', prefix: 'x/', options: {} }],
    ['az://container/x', { kind: 'azure', container: 'container', prefix: 'x/', options: {} }],
    ['azure://container', { kind: 'azure', container: 'container', prefix: '', options: {} }],
    ['adl://container/x', { kind: 'azure', container: 'container', prefix: 'x/', options: {} }],
    [
      'abfss://files@account1.dfs.core.windows.net/x',
      { kind: 'azure', container: 'files', prefix: 'x/', options: { account: 'account1' } },
    ],
    [
      'https://account1.blob.core.windows.net/files/x',
      { kind: 'azure', container: 'files', prefix: 'x/', options: { account: 'account1' } },
    ],
    [
      'https://s3.eu-west-1.amazonaws.com/bucket/x',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'eu-west-1' } },
    ],
    [
      'https://bucket.s3.eu-west-1.amazonaws.com/x',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'eu-west-1' } },
    ],
    [
      'abfss://workspace@onelake.dfs.fabric.microsoft.com/x',
      {
        kind: 'azure',
        container: 'workspace',
        prefix: 'x/',
        options: { account: 'onelake', endpoint: 'https://onelake.blob.fabric.microsoft.com' },
      },
    ],
    [
      'https://s3-eu-west-1.amazonaws.com/bucket/x',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'eu-west-1' } },
    ],
    [
      'https://s3.amazonaws.com/bucket/x',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'us-east-1' } },
    ],
    [
      'https://my.bucket.s3.amazonaws.com/',
      { kind: 's3', bucket: 'my.bucket', prefix: '', options: { region: 'us-east-1' } },
    ],
    [
      'https://bucket.s3.dualstack.us-west-2.amazonaws.com/x',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'us-west-2' } },
    ],
    [
      'https://bucket.s3.cn-north-1.amazonaws.com.cn/x?region=other',
      { kind: 's3', bucket: 'bucket', prefix: 'x/', options: { region: 'other' } },
    ],
    [
      'https://0123abc.r2.cloudflarestorage.com/bucket',
      {
        kind: 's3',
        bucket: 'bucket',
        prefix: '',
        options: { region: 'auto', endpoint: 'https://0123abc.r2.cloudflarestorage.com' },
      },
    ],
  ])('%s', (text, address) => expect(parse(text)).toEqual(address))

  it('are web servers with any other host', () => {
    expect(parse('https://cache.example/store?user_agent=me')).toEqual({
      kind: 'http',
      url: new URL('https://cache.example/store/'),
      options: { userAgent: 'me' },
    })
  })

  it.each([
    // Those of the trees that pass their options on, and of the one with a list of its own (spec §3.2).
    ['aws_access_key_id=a&aws_secret_access_key=b', { accessKeyId: 'a', secretAccessKey: 'b' }],
    ['aws_endpoint=https://h', { endpoint: 'https://h' }],
    ['aws_endpoint_url=https://h', { endpoint: 'https://h' }],
    ['aws_allow_http=1&aws_profile=p&user_agent=u', { allowHttp: '1', profile: 'p', userAgent: 'u' }],
    ['AWS_REGION=r', { region: 'r' }],
    ['aws_access_key_id=a&aws_secret_access_key=b+c/d', { secretAccessKey: 'b+c/d' }],
    ['timeout=30s&aws_unsigned_payload=true&aws_region=r', { region: 'r' }],
    ['aws_default_region=r', { region: 'r' }],
  ])('take the options of S3: %s', (query, options) => {
    expect(parse(`s3://bucket?${query}`)).toMatchObject({ options })
  })

  it.each([
    ['gs://b?google_service_account=/key.json', { serviceAccountFile: '/key.json' }],
    ['gs://b?google_service_account_key={}', { serviceAccountKey: '{}' }],
    ['az://c?azure_storage_account_name=a&azure_storage_account_key=k', { account: 'a', accountKey: 'k' }],
    ['az://c?azure_storage_access_key=k', { accountKey: 'k' }],
    ['az://c?azure_storage_sas_token=s', { sasToken: 's' }],
    ['az://c?azure_client_id=i&azure_client_secret=s&azure_tenant_id=t', { clientId: 'i', tenantId: 't' }],
  ])('take the options of others: %s', (text, options) => {
    expect(parse(text)).toMatchObject({ options })
  })

  it('take options from elsewhere, as composition files have them', () => {
    expect(parseBucketUrl('s3://bucket', [['aws_region', 'r']])).toMatchObject({ options: { region: 'r' } })
  })

  it.each([
    ['s3:///prefix', 'names no bucket'],
    ['s3://bucket:9000/x', 'more than a name'],
    ['s3://key:secret@bucket', 'more than a name'],
    ['s3://bucket#x', '#'],
    ['s3://bucket?aws_access_key_id=a', 'go together'],
    ['s3://bucket?aws_regoin=a', 'unknown option aws_regoin; known are aws_allow_http'],
    ['s3://bucket?region=a&aws_region=b', 'given twice'],
    ['s3://bucket?aws_server_side_encryption=aws:kms', 'unknown option aws_server_side_encryption'],
    ['abfs://%zz@a.dfs.core.windows.net/', 'not well-formed'],
    ['az://', 'names no bucket'],
    ['abfs://files@example.com/x', 'no account of Azure'],
    ['abfs://files@a.dfs.core.windows.net/?account_name=b', 'different accounts'],
    ['https://account1.blob.core.windows.net/', 'names no container'],
    ['https://s3.eu-west-1.amazonaws.com', 'names no bucket'],
    ['s3://bucket/%zz', 'not well-formed'],
    ['https://host?token=x', 'unknown option token'],
  ])('are refused: %s', (text, why) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining(why) }),
    )
  })
})

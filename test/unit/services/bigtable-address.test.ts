import { expect, it } from 'vitest'
import { parseBigtableUrl } from '../../../src/services/bigtable-address.ts'

const REQUIRED = 'project_id=p&table_name=t&family_name=f'

it('has the defaults of the wire specification', () => {
  expect(parseBigtableUrl(`bigtable://instance-1?${REQUIRED}`)).toEqual({
    projectId: 'p',
    instance: 'instance-1',
    table: 't',
    family: 'f',
    isReadOnly: false,
    channels: 4,
    timeoutMs: 4_000,
    appProfile: 'default',
  })
})

it('takes everything from the address', () => {
  const text = `bigtable://i?${REQUIRED}&is_read_only=true&channel_size=10&timeout=10&app_profile_id=a`
  expect(parseBigtableUrl(text)).toMatchObject({
    isReadOnly: true,
    channels: 10,
    timeoutMs: 10_000,
    appProfile: 'a',
  })
})

it.each([
  ['bigtable://', 'the name of an instance'],
  [`bigtable://i/path?${REQUIRED}`, 'the name of an instance'],
  ['bigtable://i?project_id=p&table_name=t', 'family_name is missing'],
  [`bigtable://i?${REQUIRED}&table=x`, 'unknown parameter table'],
  [`bigtable://i?${REQUIRED}&project_id=q`, 'given twice'],
  [`bigtable://i?${REQUIRED}&channel_size=0`, 'from 1 to 64'],
  [`bigtable://i?${REQUIRED}&timeout=1s`, 'timeout is a number'],
  [`bigtable://i?${REQUIRED}&is_read_only=yes`, 'true or false'],
])('refuses %s', (text, why) => {
  expect(() => parseBigtableUrl(text)).toThrow(
    expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining(why) }),
  )
})

import { describe, expect, it } from 'vitest'
import { parseNixHttpAddress } from '../../../../src/services/pathinfos/nix-http-address.ts'
import { makeSigningKey } from '../../../support/signing-keys.ts'

const NIXOS = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY='
const FOO = 'foo:jp4fCEx9tBEId/L0ZsVJ26k0wC0fu7vJqLjjIGFkup8='

const keysOf = (text: string) => parseNixHttpAddress(text).trustedKeys?.map(String)

describe('addresses of binary caches', () => {
  it.each([
    ['nix+https://cache.nixos.org', 'https://cache.nixos.org/'],
    ['nix+http://192.0.2.1/foo', 'http://192.0.2.1/foo/'],
    ['nix+http://[::1]:8080/foo/', 'http://[::1]:8080/foo/'],
    ['NIX+HTTPS://host/a%20b', 'https://host/a%20b/'],
    ['nix+https://user:pass@host', 'https://user:pass@host/'],
  ])('%s is at %s', (text, url) => {
    expect(parseNixHttpAddress(text)).toMatchObject({ trustedKeys: undefined, forceDownloadNar: false })
    expect(parseNixHttpAddress(text).url.href).toBe(url)
  })

  it.each([
    [`trusted-public-keys=${NIXOS}`, [NIXOS]],
    [`trusted-public-keys=${NIXOS}%20${FOO}`, [NIXOS, FOO]],
    [`trusted-public-keys=${NIXOS}+${FOO}`, [NIXOS, FOO]],
    [`trusted-public-keys=${NIXOS}&trusted-public-keys=${FOO}`, [NIXOS, FOO]],
    [`trusted-public-keys=${encodeURIComponent(`${NIXOS}\n${FOO}`)}`, [NIXOS, FOO]],
    [`trusted_public_keys[0]=${NIXOS}&trusted_public_keys[1]=${FOO}`, [NIXOS, FOO]],
    [`trusted_public_keys%5B0%5D=${NIXOS}`, [NIXOS]],
  ])('trusts the keys of ?%s', (query, keys) => {
    expect(keysOf(`nix+https://host?${query}`)).toEqual(keys)
  })

  it('leaves a plus sign within a key alone', () => {
    const keys = Array.from({ length: 10 }, (_, index) => String(makeSigningKey(`k-${index}`).verifyingKey))
    const withPlus = keys.find((key) => key.includes('+'))!
    expect(keysOf(`nix+https://host?trusted-public-keys=${withPlus}+${NIXOS}`)).toEqual([withPlus, NIXOS])
  })

  it('knows whether castore is wanted', () => {
    expect(parseNixHttpAddress('nix+http://h?force_download_nar=true').forceDownloadNar).toBe(true)
    expect(parseNixHttpAddress('nix+http://h?force_download_nar=false').forceDownloadNar).toBe(false)
  })

  it.each(['default', 'root', '&root', '@root', '%26root'])('takes %s for the services at hand', (name) => {
    const { url } = parseNixHttpAddress(`nix+http://h?blob_service=${name}&directory_service=${name}`)
    expect(url.href).toBe('http://h/')
  })

  it.each([
    ['nix+http:', /it is nix\+http:/],
    ['nix+http:///', /it is nix\+http:/],
    ['nix+http:///x', /it is nix\+http:/],
    ['nix+ftp://h', /it is nix\+http:/],
    ['nix+http://h#x', /it is nix\+http:/],
    ['nix+http://h:99999', /it is nix\+http:/],
    [`nix+http://h?trusted_public_keys=${NIXOS}`, /write trusted_public_keys\[0\]/],
    [`nix+http://h?trustedpublickeys=${NIXOS}`, /unknown parameter trustedpublickeys; there are trusted-/],
    ['nix+http://h?trusted-public-keys=', /the list of trusted keys is empty/],
    ['nix+http://h?trusted-public-keys=x', /public key/],
    ['nix+http://h?trusted-public-keys=%', /percent sign/],
    ['nix+http://h?force_download_nar=1', /true or false/],
    ['nix+http://h?blob_service=other', /can only be "default"/],
    ['nix+http://user:secret@h?x=secret', /^nix\+http:\/\/h is no address/],
  ])('%s is refused with the reason', (text, reason) => {
    expect(() => parseNixHttpAddress(text)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringMatching(reason) }),
    )
  })
})

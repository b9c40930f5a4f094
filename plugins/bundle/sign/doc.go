// Package sign makes and verifies signatures of bundles and catalogues, all of
// it offline.
//
// A signature is an in-toto statement that names the digest of what is signed,
// in a DSSE envelope, in a Sigstore bundle (version 0.3): what cosign makes with
// sign --new-bundle-format --key and reads with verify --new-bundle-format
// --key. Keys are ECDSA on P-256 or Ed25519. A private key is stored encrypted
// with a passphrase, in cosign's own form; encrypted PKCS#8, as openssl writes
// it, is read too.
package sign

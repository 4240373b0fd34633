package apiv1

// algorithmKind is a transform type of RFC 7296 §3.3.2.
type algorithmKind int

const (
	kindEncryption algorithmKind = iota
	kindAEAD
	kindIntegrity
	kindPRF
	kindKeyExchange
	kindESN
)

// algorithm is what a word of strongSwan's proposal notation means. iv, block and icv are bytes in an ESP packet (RFC 4303 §2).
type algorithm struct {
	kind           algorithmKind
	weak           bool
	iv, block, icv int
}

// lookupAlgorithm knows the words of strongSwan's proposal_keywords_static.txt that are of use between routers. Left out on
// purpose: null, des and modpnull protect nothing; NTRU and the other pre-standard post-quantum groups are gone from current releases.
func lookupAlgorithm(word string) (algorithm, bool) {
	switch word {
	case "aes", "aes128", "aes192", "aes256", "camellia", "camellia128", "camellia192", "camellia256":
		return algorithm{kind: kindEncryption, iv: 16, block: 16}, true
	case "aes128ctr", "aes192ctr", "aes256ctr":
		return algorithm{kind: kindEncryption, iv: 8, block: 4}, true
	case "3des":
		return algorithm{kind: kindEncryption, weak: true, iv: 8, block: 8}, true

	case "aes128gcm8", "aes128gcm64", "aes192gcm8", "aes192gcm64", "aes256gcm8", "aes256gcm64",
		"aes128ccm8", "aes128ccm64", "aes192ccm8", "aes192ccm64", "aes256ccm8", "aes256ccm64":
		return algorithm{kind: kindAEAD, iv: 8, block: 4, icv: 8}, true
	case "aes128gcm12", "aes128gcm96", "aes192gcm12", "aes192gcm96", "aes256gcm12", "aes256gcm96",
		"aes128ccm12", "aes128ccm96", "aes192ccm12", "aes192ccm96", "aes256ccm12", "aes256ccm96":
		return algorithm{kind: kindAEAD, iv: 8, block: 4, icv: 12}, true
	case "aes128gcm", "aes128gcm16", "aes128gcm128", "aes192gcm", "aes192gcm16", "aes192gcm128", "aes256gcm", "aes256gcm16", "aes256gcm128",
		"aes128ccm", "aes128ccm16", "aes128ccm128", "aes192ccm", "aes192ccm16", "aes192ccm128", "aes256ccm", "aes256ccm16", "aes256ccm128",
		"chacha20poly1305":
		return algorithm{kind: kindAEAD, iv: 8, block: 4, icv: 16}, true

	case "md5":
		return algorithm{kind: kindIntegrity, weak: true, icv: 12}, true
	case "sha", "sha1":
		return algorithm{kind: kindIntegrity, weak: true, icv: 12}, true
	case "sha256_96", "sha2_256_96", "aesxcbc", "aescmac":
		return algorithm{kind: kindIntegrity, icv: 12}, true
	case "sha256", "sha2_256":
		return algorithm{kind: kindIntegrity, icv: 16}, true
	case "sha384", "sha2_384":
		return algorithm{kind: kindIntegrity, icv: 24}, true
	case "sha512", "sha2_512":
		return algorithm{kind: kindIntegrity, icv: 32}, true

	case "prfmd5", "prfsha1":
		return algorithm{kind: kindPRF, weak: true}, true
	case "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc", "prfaescmac":
		return algorithm{kind: kindPRF}, true

	case "modp768", "modp1024", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256", "ecp192":
		return algorithm{kind: kindKeyExchange, weak: true}, true
	case "modp2048", "modp3072", "modp4096", "modp6144", "modp8192",
		"ecp224", "ecp256", "ecp384", "ecp521", "ecp224bp", "ecp256bp", "ecp384bp", "ecp512bp",
		"curve25519", "x25519", "curve448", "x448":
		return algorithm{kind: kindKeyExchange}, true

	case "esn", "noesn":
		return algorithm{kind: kindESN}, true
	}
	return algorithm{}, false
}

// isMLKEM says whether word is a key encapsulation of FIPS 203, which only an additional key exchange may carry here: alone it
// would give up the classical group's protection, and its keys are too large for the first message.
func isMLKEM(word string) bool {
	return word == "mlkem512" || word == "mlkem768" || word == "mlkem1024"
}

// refusedAlgorithm tells why a word that strongSwan knows is not accepted; empty for others.
func refusedAlgorithm(word string) string {
	switch word {
	case "null", "aes128gmac", "aes192gmac", "aes256gmac":
		return "does not encrypt"
	case "des", "modpnull", "modpnone":
		return "protects nothing"
	case "default":
		return "depends on charon's version: name the algorithms"
	}
	if isMLKEM(word) {
		return "is accepted only beside a classical group, as ke1_" + word
	}
	return ""
}

package apiv1

import "fmt"

// ESPSuite holds what an ESP packet's size depends on (RFC 4303 §2), in bytes. Block is at least 4.
type ESPSuite struct {
	IV, Block, ICV int
}

// InnerMTU returns the largest inner packet that fits an outer link's MTU in ESP tunnel mode, in bytes; 0 when nothing fits. natT:
// the ESP packet travels in UDP (RFC 3948). It is the kernel's own arithmetic (xfrm_state_mtu, esp4.c and esp6.c: esp_init_state):
// what is left after IP, UDP, SPI with sequence number, IV and ICV, rounded down to whole blocks, less pad length and next header.
func InnerMTU(outerMTU int, suite ESPSuite, natT, outerIPv6 bool) int {
	header := 20 + 8 + suite.IV
	if outerIPv6 {
		header += 20
	}
	if natT {
		header += 8
	}
	block := max(suite.Block, 4)
	room := outerMTU - header - suite.ICV
	return max(room/block*block-2, 0)
}

// MSS returns the largest TCP segment for an inner MTU: what IP (20 or 40 bytes) and TCP (20) leave. 0 when nothing is left.
func MSS(innerMTU int, innerIPv6 bool) int {
	if innerIPv6 {
		return max(innerMTU-60, 0)
	}
	return max(innerMTU-40, 0)
}

// ProposedMTU returns the InnerMTU that holds whichever of the proposals is negotiated. The error names a proposal that does not parse.
func ProposedMTU(outerMTU int, proposals []string, natT, outerIPv6 bool) (int, error) {
	least := -1
	for _, text := range proposals {
		p, err := ParseESPProposal(text, DefaultIKEVersion)
		if err != nil {
			return 0, fmt.Errorf("ESP proposal %s: %w", text, err)
		}
		for _, suite := range p.suites() {
			if mtu := InnerMTU(outerMTU, suite, natT, outerIPv6); least < 0 || mtu < least {
				least = mtu
			}
		}
	}
	if least < 0 {
		return 0, fmt.Errorf("no ESP proposal")
	}
	return least, nil
}

// suites returns the sizes of all combinations of a proposal's algorithms.
func (p Proposal) suites() []ESPSuite {
	var out []ESPSuite
	for _, encryption := range p.Encryption {
		e, _ := lookupAlgorithm(encryption)
		if p.AEAD {
			out = append(out, ESPSuite{IV: e.iv, Block: e.block, ICV: e.icv})
			continue
		}
		for _, integrity := range p.Integrity {
			i, _ := lookupAlgorithm(integrity)
			out = append(out, ESPSuite{IV: e.iv, Block: e.block, ICV: i.icv})
		}
	}
	return out
}

// NegotiatedESPSuite returns the sizes of the algorithms that charon reports for an installed CHILD_SA (encr-alg and integ-alg of
// list-sas: "AES_GCM_16" and "", "AES_CBC" and "HMAC_SHA2_256_128"). False when a name is not known.
func NegotiatedESPSuite(encryption, integrity string) (ESPSuite, bool) {
	switch encryption {
	case "AES_GCM_16", "AES_CCM_16", "CHACHA20_POLY1305":
		return ESPSuite{IV: 8, Block: 4, ICV: 16}, true
	case "AES_GCM_12", "AES_CCM_12":
		return ESPSuite{IV: 8, Block: 4, ICV: 12}, true
	case "AES_GCM_8", "AES_CCM_8":
		return ESPSuite{IV: 8, Block: 4, ICV: 8}, true
	}
	suite := ESPSuite{}
	switch encryption {
	case "AES_CBC", "CAMELLIA_CBC":
		suite.IV, suite.Block = 16, 16
	case "AES_CTR", "CAMELLIA_CTR":
		suite.IV, suite.Block = 8, 4
	case "3DES_CBC":
		suite.IV, suite.Block = 8, 8
	case "NULL":
		suite.IV, suite.Block = 0, 4
	default:
		return ESPSuite{}, false
	}
	switch integrity {
	case "HMAC_MD5_96", "HMAC_SHA1_96", "AES_XCBC_96", "AES_CMAC_96", "HMAC_SHA2_256_96":
		suite.ICV = 12
	case "HMAC_SHA2_256_128":
		suite.ICV = 16
	case "HMAC_SHA2_384_192":
		suite.ICV = 24
	case "HMAC_SHA2_512_256":
		suite.ICV = 32
	default:
		return ESPSuite{}, false
	}
	return suite, true
}

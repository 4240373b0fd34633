package charon

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// IKEState is the best state of a tunnel's IKE_SAs.
type IKEState string

// The states of a tunnel's IKE_SAs that matter to others. ESTABLISHED says nothing about traffic: a CHILD_SA may have failed inside IKE_AUTH.
const (
	IKEDown        IKEState = "DOWN"
	IKEConnecting  IKEState = "CONNECTING"
	IKEEstablished IKEState = "ESTABLISHED"
)

// Suite is what two ends agreed on for an IKE_SA or a CHILD_SA, in charon's words (AES_GCM_16, HMAC_SHA2_256_128, ECP_384).
type Suite struct {
	Encryption string
	// KeySize of the cipher in bits; 0 when the algorithm has only one.
	KeySize int
	// Integrity is empty for AEAD ciphers.
	Integrity string
	PRF       string
	// DH is the key exchange group. A CHILD_SA made inside IKE_AUTH has none (RFC 7296 §1.2).
	DH string
	// KE lists additional key exchanges (RFC 9370), in order, with their transform: KE1_ML_KEM_768.
	KE []string
	// ESN says whether 64-bit sequence numbers are in use (CHILD_SAs only).
	ESN bool
}

// ChildSA is one installed CHILD_SA (charon's states INSTALLED and REKEYING).
type ChildSA struct {
	UniqueID    uint32
	IKEUniqueID uint32
	// State is INSTALLED or REKEYING.
	State string
	IfID  uint32
	// SPIIn and SPIOut are eight hexadecimal digits.
	SPIIn, SPIOut string
	Suite         Suite
	// Encap is true when ESP travels in UDP (RFC 3948).
	Encap bool
	// Traffic is the inner traffic of this SA as last read; listings and events refresh it.
	Traffic Traffic
	// Installed is derived from charon's age of the SA; exact to a second.
	Installed time.Time
}

// Traffic counts inner bytes and packets.
type Traffic struct {
	BytesIn, BytesOut, PacketsIn, PacketsOut uint64
}

// Failure is one failed negotiation, or the way an established tunnel ended.
type Failure struct {
	// Reason is one of the Reason constants of package diagnose.
	Reason string
	// Message is for people. Holds no secrets.
	Message string
	Time    time.Time
}

// State is what is known of one tunnel in charon. It is a copy; the caller may keep it.
type State struct {
	Tunnel string
	// Connected says whether charon answers; while it is false everything below is what was known last. Since is when that changed.
	Connected bool
	Since     time.Time
	// Loaded says whether charon has the wanted configuration; LoadError is why not, if it was refused.
	Loaded    bool
	LoadError string

	IKE IKEState
	// Children are the installed CHILD_SAs ordered by unique id; the tunnel carries traffic exactly when there is one.
	Children []ChildSA

	// IKEVersion to RemoteEndpoint describe the newest established IKE_SA, ESPSuite the newest CHILD_SA; zero when there is none.
	IKEVersion     int
	IKESuite       Suite
	ESPSuite       Suite
	NATT           bool
	LocalID        string
	RemoteID       string
	RemoteEndpoint netip.AddrPort

	// Totals since the driver first saw the tunnel; they do not go back when an SA is replaced.
	Traffic        Traffic
	Establishments uint64
	// Rekeys counts CHILD_SAs, IKERekeys IKE_SAs of IKEv2 that replaced another one.
	Rekeys, IKERekeys uint64
	Failures          map[string]uint64
	// KeyPending is since when a new pre-shared key waits for the peer to accept it; zero while none does.
	KeyPending time.Time
	// Renegotiations counts how often SAs were replaced, or closed for the peer to replace, because Renegotiate asked for it.
	Renegotiations uint64
	// DuplicatesClosed counts IKE_SAs that were closed because both ends had set one up.
	DuplicatesClosed uint64
	// LastDown is when the last CHILD_SA last went away; zero while that never happened. A tunnel that is up again before anybody looks shows it here only.
	LastDown time.Time
	// LastFailure stays after the tunnel came up again; compare its Time.
	LastFailure Failure
}

// PostQuantum says whether ML-KEM took part in the key exchange.
func (s Suite) PostQuantum() bool {
	return slices.ContainsFunc(s.KE, func(ke string) bool { return strings.Contains(ke, "ML_KEM") })
}

// Up says whether the tunnel can carry traffic: at least one CHILD_SA is installed.
func (s State) Up() bool { return len(s.Children) > 0 }

// EventKind says what an Event is about.
type EventKind int

// Kinds of events. Every one is a hint: the facts are in State.
const (
	// TunnelChanged: the IKE state, the set of CHILD_SAs or what was negotiated changed for Tunnel.
	TunnelChanged EventKind = iota + 1
	// FailureSeen: Reason and Message say why a negotiation failed or an established tunnel ended.
	FailureSeen
	// LogLine: one line of charon's log about Tunnel; those of keepalives are left out.
	LogLine
	// Disconnected: charon does not answer; State keeps what was known.
	Disconnected
	// Resync: events may be missing before this one; read State of every tunnel of interest again.
	Resync
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case TunnelChanged:
		return "TunnelChanged"
	case FailureSeen:
		return "FailureSeen"
	case LogLine:
		return "LogLine"
	case Disconnected:
		return "Disconnected"
	case Resync:
		return "Resync"
	default:
		return "unknown"
	}
}

// Event is one hint of the ordered stream that Watch delivers.
type Event struct {
	Kind EventKind
	// Tunnel is empty for Disconnected and Resync.
	Tunnel  string
	Time    time.Time
	Reason  string
	Message string
}

package rotate

import "strconv"

// Name is the unique label of a credential in the config. PortalID is the config's
// name of a portal, ItemID the portal's 32-digit item id.
type (
	Name     string
	PortalID string
	ItemID   string
)

// ID is a credential's identity.
type ID struct {
	Portal PortalID `json:"portal"`
	Item   ItemID   `json:"item"`
}

func (id ID) String() string { return string(id.Portal) + "/" + string(id.Item) }

// Slot is one of the two key slots of a credential.
type Slot uint8

// The slots. NoSlot means unknown or none.
const (
	NoSlot Slot = 0
	Slot1  Slot = 1
	Slot2  Slot = 2
)

// Other slot; NoSlot for NoSlot.
func (s Slot) Other() Slot {
	if s == NoSlot {
		return NoSlot
	}
	return 3 - s
}

// Valid tells whether s is slot 1 or 2.
func (s Slot) Valid() bool { return s == Slot1 || s == Slot2 }

func (s Slot) String() string {
	if s == NoSlot {
		return "-"
	}
	return strconv.Itoa(int(s))
}

// Slots is both slots in order.
func Slots() [2]Slot { return [2]Slot{Slot1, Slot2} }

// Version is a sink's opaque compare-and-swap token. The empty version means that
// the sink never had one.
type Version string

// Mode of a credential: ModeWatch observes and has no effects, ModeRotate rotates.
type Mode string

// The modes.
const (
	ModeWatch  Mode = "watch"
	ModeRotate Mode = "rotate"
)

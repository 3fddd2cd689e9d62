package rotate

import "time"

// Block is something that stands against a start; its zero value is nothing.
type Block struct {
	Reason Reason
	Until  time.Time // zero is unknown
	Text   string
}

// Peers is what the other credentials of the fleet allow one that is due: stages,
// the most rotations at once, a stop after failed proofs. What is urgent or critical
// neither asks nor counts (rule 13). It is safe for concurrent use and never blocks.
type Peers interface {
	// May tells what stands against a scheduled start now.
	May(r Record, now time.Time) Block
	// Begin is May that also takes the place where nothing does.
	Begin(r Record, now time.Time) Block
	// Saw is told every record that was journalled.
	Saw(r Record)
}

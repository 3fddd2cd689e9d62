package rotate

// decideRequest handles what a person asked for and is no plain rotation.
func (in *In) decideRequest() (Decision, bool) {
	q := in.Record.Request
	if q == nil || in.Mode != ModeRotate || in.Now.Before(in.Record.RetryAt) {
		return Decision{}, false
	}
	switch q.Kind {
	case RequestInvalidate:
		if in.Now.Before(in.Record.Revoke.RetryAt) {
			return Decision{}, false
		}
		return in.decideInvalidate(q), true
	case RequestRollback:
		return in.decideRollback(), true
	case RequestCompromised:
		return in.decideCompromised(q)
	case RequestBack:
		if !in.Record.Unserved() {
			return in.refuse(ReasonNotDue, "the replacement is in service, or over: replace it anew to go back"), true
		}
		return Decision{}, false // decideBack has it
	case RequestRotate, RequestRegenerate, RequestAdopt, RequestReplace:
		return Decision{}, false
	}
	return Decision{}, false
}

func (in *In) refuse(why Reason, detail string) Decision {
	return Decision{Step: StepRefuse, Blocked: why, Detail: detail}
}

func (in *In) decideInvalidate(q *Request) Decision {
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedItem | NeedProof); !ok {
		return d
	}
	if in.served(q.Slot) && !q.OutageOK {
		return in.refuse(ReasonOccupied, "a sink serves the key of slot "+q.Slot.String())
	}
	if err := in.sinkErr(); err != nil && !q.OutageOK {
		return unreachable(err)
	}
	class := in.classify(q.Slot)
	if class == slotOccupied {
		return in.refuse(ReasonOccupied, "slot "+q.Slot.String()+": "+blockedSentence(ReasonOccupied))
	}
	if _, ok := in.rebuiltUntil(); ok && class != slotEmpty {
		return in.refuse(ReasonRebuilt, blockedSentence(ReasonRebuilt)) // a request that waits for days keeps all else waiting
	}
	if until, flying := in.inFlight(q.Slot); flying {
		return wait(ReasonHorizon, until, blockedSentence(ReasonHorizon))
	}
	if d, why := in.agreement(); d != DriftNone && !q.OutageOK {
		return in.refuse(ReasonDrift, why)
	}
	if class == slotOverlap || class == slotPast {
		if d, ok := in.lookedAt(NeedOld); !ok {
			return d
		}
		if in.View.OldHad && !in.View.Old.Valid && !in.Record.Slots[q.Slot].Taken {
			return in.refuse(ReasonOccupied, "slot "+q.Slot.String()+" holds a key that is not our previous one: "+blockedSentence(ReasonOccupied))
		}
	}
	return Decision{Step: StepRevoke, Slot: q.Slot, Detail: "asked for by " + q.By}
}

// decideRollback writes the previous key back as a new generation.
func (in *In) decideRollback() Decision {
	r := &in.Record
	if r.Previous.Fingerprint == "" {
		return in.refuse(ReasonNotDue, "there is no previous key to go back to")
	}
	if d, ok := in.lookedAt(NeedSinks | NeedEarlier | NeedApp | NeedItem | NeedProof | NeedOld); !ok {
		return d
	}
	if d, why := in.sinkDrift(); d != DriftNone && d != DriftSinksDiffer {
		return in.refuse(ReasonDrift, why)
	}
	if !in.View.OldHad {
		return in.refuse(ReasonDrift, "no sink still has the previous key")
	}
	if !in.View.Old.Valid {
		return in.refuse(ReasonDead, "the previous key is refused by the portal")
	}
	return Decision{Step: StepStart, Due: ReasonRollback, Key: r.Previous, Slot: r.Previous.Slot, Detail: "rolled back by " + r.Request.By}
}

// decideCompromised ends a request whose keys are gone. A served one is rotated, which the due
// checks do, and the overlap of the previous one is over.
func (in *In) decideCompromised(q *Request) (Decision, bool) {
	r := &in.Record
	if in.compromisedLive(q) || names(q.Fingerprints, r.Previous.Fingerprint) {
		return Decision{}, false
	}
	return in.refuse(ReasonNotDue, "no key of that fingerprint is in use here"), true
}

// compromisedLive tells whether the request names the served key.
func (in *In) compromisedLive(q *Request) bool {
	return names(q.Fingerprints, in.Record.Live.Fingerprint)
}

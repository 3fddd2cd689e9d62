package slack

import (
	"encoding/json"
	"fmt"
	"time"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
)

// The ids of what can be pressed, and of the dialog.
const (
	pressAck         = "rotatord_acknowledge"
	pressSnooze      = "rotatord_snooze"
	pressHold        = "rotatord_hold"
	pressResume      = "rotatord_resume"
	pressRotate      = "rotatord_rotate"
	pressMore        = "rotatord_more"
	askCompromised   = "rotatord_compromised"
	inputName        = "name"
	inputWhy         = "why"
	snoozeFor        = 4 * time.Hour
	holdFor          = 24 * time.Hour
	buttonsBlock     = "rotatord_buttons"
	compromisedTitle = "Key is compromised"
)

// target is what a button is about; it goes to Slack and comes back.
type target struct {
	Key        string `json:"k"`
	Credential string `json:"c,omitempty"`
	Since      int64  `json:"s,omitempty"` // of the alert: tells one life of a key from the next
}

func targetOf(o alert.Notice) target {
	t := target{Key: o.Key, Credential: o.Message.Credential}
	if !o.Message.Since.IsZero() {
		t.Since = o.Message.Since.Unix()
	}
	return t
}

func (t target) encode() string {
	b, err := json.Marshal(t)
	if err != nil {
		return "" // strings and a number always encode
	}
	return string(b)
}

// buttons of an alert. What changes keys asks back; what takes keys away is behind a menu
// and wants the credential's name typed.
func buttons(o alert.Notice) slackgo.Block {
	t := targetOf(o)
	value := t.encode()
	if size(value) > valueMost {
		return nil
	}
	var out []slackgo.BlockElement
	press := func(id, text string) *slackgo.ButtonBlockElement {
		b := slackgo.NewButtonBlockElement(id, value, plainText(text))
		out = append(out, b)
		return b
	}
	if o.State == alert.StateOpen {
		press(pressAck, "Acknowledge")
	}
	if o.State != alert.StateSnoozed {
		press(pressSnooze, "Snooze 4 h")
	}
	if t.Credential != "" {
		name := clip(t.Credential, dialogMost, escape)
		switch o.Message.Condition {
		case alert.ConditionHeld, alert.ConditionQuarantined, alert.ConditionFailing:
			press(pressResume, "Resume").Confirm = confirm("Resume?",
				"*"+name+"* is no longer held or quarantined, its failures are forgotten, and what is due is rotated at once.", "Resume")
		default:
			press(pressHold, "Hold 24 h")
		}
		rotate := press(pressRotate, "Rotate now")
		rotate.Confirm = confirm("Rotate now?",
			"*"+name+"* gets a new key as soon as rotatord can make one. Overlap and every safety rule are kept: consumers have time to read it.", "Rotate")
		if t.menu() != "" {
			out = append(out, slackgo.NewOverflowBlockElement(pressMore,
				slackgo.NewOptionBlockObject(askCompromised, plainText("A key is compromised…"), nil)))
		}
	}
	return slackgo.NewActionBlock(buttonsBlock+t.menu(), out...)
}

// menu is the part of the block's id that tells a menu's choice what it is about: an
// option's value holds 150 characters only, a block's id 255. "" is too long.
func (t target) menu() string {
	const most = 255 - len(buttonsBlock)
	if text := ":" + t.encode(); size(text) <= most {
		return text
	}
	return ""
}

// confirm asks back. A text has 300 characters.
func confirm(title, text, yes string) *slackgo.ConfirmationBlockObject {
	return slackgo.NewConfirmationBlockObject(plainText(title), mrkdwn(text), plainText(yes), plainText("Leave it"))
}

// where a button was pressed.
type where struct {
	Target  target `json:"t"`
	Channel string `json:"ch"`
	Message string `json:"ts"`
}

// compromisedView asks for the credential's name before its keys are taken away.
func compromisedView(w where) (slackgo.ModalViewRequest, error) {
	const metadataMost = 3000
	private, err := json.Marshal(w)
	if err != nil || len(private) > metadataMost {
		return slackgo.ModalViewRequest{}, fmt.Errorf("the name of %s is too long for a dialog", clip(w.Target.Credential, nameMost, plain))
	}
	name := clip(w.Target.Credential, dialogMost, escape)
	text := "rotatord makes one new key for *" + name + "*, serves it, and then revokes every other key of it *without an overlap*: " +
		"consumers that cache the old key fail until they read the new one.\n" +
		"Whoever has the credential's client secret can make keys too: then replace the credential."
	typed := slackgo.NewPlainTextInputBlockElement(plainText(clip(w.Target.Credential, nameMost, oneLine)), inputName)
	why := slackgo.NewPlainTextInputBlockElement(plainText("Where it was seen"), inputWhy).WithMaxLength(500)
	return slackgo.ModalViewRequest{Type: slackgo.VTModal, CallbackID: askCompromised, PrivateMetadata: string(private),
		Title: plainText(compromisedTitle), Submit: plainText("Replace the key"), Close: plainText("Leave it"),
		Blocks: slackgo.Blocks{BlockSet: []slackgo.Block{
			slackgo.NewSectionBlock(mrkdwn(text), nil, nil),
			slackgo.NewInputBlock(inputName, plainText("Type the credential's name"), nil, typed),
			slackgo.NewInputBlock(inputWhy, plainText("Why, for the history"), nil, why).WithOptional(true),
		}}}, nil
}

package portaltest

import (
	"errors"
	"fmt"
)

// apiError is the portal's error object; it is answered with HTTP 200 unless status says otherwise.
type apiError struct {
	code        int
	messageCode string
	message     string
	details     []string
	oauth       string // the OAuth "error" member
	status      int
}

func (e *apiError) Error() string { return fmt.Sprintf("portal error %d: %s", e.code, e.message) }

// body is the JSON form, as the contract's samples have it.
func (e *apiError) body() obj {
	details := e.details
	if details == nil {
		details = []string{}
	}
	inner := obj{"code": e.code, "message": e.message, "details": details}
	if e.messageCode != "" {
		inner["messageCode"] = e.messageCode
	}
	if e.oauth != "" {
		inner["error"] = e.oauth
		inner["error_description"] = e.message
	}
	return obj{"error": inner}
}

// obj is a JSON object under construction.
type obj = map[string]any

func badRequest(message string, details ...string) *apiError {
	return &apiError{code: 400, message: message, details: details}
}

func oauthError(code int, kind, message string) *apiError {
	return &apiError{code: code, message: message, oauth: kind}
}

func noSuchItem() *apiError {
	return &apiError{code: 400, messageCode: "CONT_0001", message: "Item does not exist or is inaccessible."}
}

func forbidden() *apiError {
	return &apiError{code: 403, messageCode: "GWM_0003",
		message: "You do not have permissions to access this resource or perform this operation."}
}

func invalidToken() *apiError { return &apiError{code: 498, message: "Invalid token."} }

func tokenRequired() *apiError {
	return &apiError{code: 499, messageCode: "GWM_0003", message: "Token Required"}
}

// asAPIError turns any handler error into a portal error; one that is none is a fault of the emulator itself.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	return &apiError{code: 500, message: "emulator: " + err.Error()}
}

"""Twilio's error codes, by what they mean for a send (https://www.twilio.com/docs/api/errors).

A code in none of the tables is a fault of our account or request, for the operator to fix.
"""

#: The number itself cannot receive it.
REJECTED = frozenset(
    {
        13223,  # not a phone number
        13224,  # no such number, or none that Twilio can call
        13225,  # a forbidden number, such as an emergency line
        13226,  # no such country code
        21202,  # a premium number
        21211,  # "To" is not a valid number
        21214,  # "To" cannot be reached
        21217,  # "To" does not appear to be valid
        21265,  # "To" is a short code
        21266,  # "To" is our own number
        21401,  # not a valid number
        21407,  # this kind of number has no SMS
        21421,  # not a valid number
        21610,  # the person opted out (STOP)
        21612,  # no route from our sender to this number
        21614,  # not a mobile number
        21635,  # a landline
        30003,  # an unreachable handset
        30004,  # the person blocked the sender
        30005,  # an unknown handset
        30006,  # a landline, or an unreachable carrier
    }
)
#: Twilio or the account's permissions forbid the destination or the text.
BLOCKED = frozenset(
    {
        13227,  # calls: geographic permissions
        21203,  # calls abroad are not enabled
        21215,  # calls: geographic permissions
        21216,  # the account may not call this number
        21219,  # trial account: the number is not verified with Twilio
        21408,  # texts: geographic permissions
        21608,  # trial account: the number is not verified with Twilio
        30007,  # filtered as unwanted
        30450,  # SMS pumping protection
        30453,  # SMS pumping protection
        32205,  # calls: geographic permissions
        60410,  # fraud guard
        60605,  # the country is blocked
    }
)
#: Too many requests; it resolves itself and is not logged as an error.
BUSY = frozenset({14107, 20429, 21611, 30001, 30022, 63038})

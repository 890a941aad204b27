"""Base models of protocol adapters."""

from pydantic import BaseModel, ConfigDict


class AdapterBody(BaseModel):
    """Base of request bodies; unknown fields are ignored, as the other specifications want."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

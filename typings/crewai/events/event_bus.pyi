class CrewAIEventsBus:
    def emit(self, source: object, event: object) -> object: ...

crewai_event_bus: CrewAIEventsBus
